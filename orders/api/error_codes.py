"""What an error can be, and what to do about it."""

from collections.abc import Mapping

CODES: Mapping[str, str] = {
    "bad_request": "The HTTP request is malformed or names an unknown host; correct it.",
    "changed": "The order has moved on since the seq in `If-Match`; read it and decide again.",
    "client_order_id_taken": "The `clientOrderId` names an order that differs from this one; use a new id.",
    "forbidden": "You are known, but may not do this: the message names what is missing; a retry does not help.",
    "insufficient_balance": "The account has less of the token than the order sells, besides what its open orders "
    "reserve; place a smaller one, or cancel some. The message has the numbers.",
    "internal": "The engine failed and may have done what you asked; send an order again under the same "
    "`clientOrderId`, read an order before you change it again, resume a socket.",
    "invalid": "A value is wrong, missing or not accepted here; change what `message` and `fields` name.",
    "method_not_allowed": "This address does not take this method; use one that the header `Allow` names.",
    "no_order": "No order came in time on the socket that places one; open it again and send the order.",
    "not_acceptable": "`Accept` excludes JSON; allow `application/json`.",
    "not_found": "There is no such order, pair, webhook or address; correct it, a retry does not help.",
    "not_json": "The body is not JSON, or is nested too deeply; correct it.",
    "not_ready": "Only from `/readyz`: Postgres does not answer; ask again after `Retry-After`.",
    "not_resting": "The order does not rest, so it cannot be cancelled or changed; go by its status.",
    "one_order": "This socket has its order; open another socket for the next.",
    "overloaded": "The engine has too much to do and did nothing; try again after a second.",
    "paused": "An operator has paused or halted the pair, your account or all trading, and nothing was done; try again "
    "later.",
    "precondition_required": "`If-Match` is missing; send the seq of the last event you know.",
    "rate_limited": "The API key has placed as many orders as it may per minute, or the account has a CSV export under "
    "way; nothing was done, try again later.",
    "reducing": "An operator allows only orders that sell for the quote token of their pair, and nothing was done; "
    "sell, or try again later.",
    "rejected_day_value": "The order is worth more than is left of a daily trading limit; place a smaller one, or wait "
    "until midnight UTC.",
    "rejected_impact": "The price impact is beyond a trading limit; lower `amount`.",
    "rejected_order_value": "The order is worth more than a trading limit allows for one order; place a smaller one.",
    "rejected_repeat": "The same order was placed a moment ago, and a trading limit demands some time between; it may "
    "be a mistake.",
    "rejected_slippage": "The slippage is beyond a trading limit; lower `slippageBps`.",
    "rejected_token": "A trading limit does not allow the token.",
    "rejected_value_unknown": "The value of orders is limited, and that of this one is unknown; try again once the "
    "token is quoted.",
    "store_unreachable": "A store does not answer, and what you asked may have been done; after a few seconds send an "
    "order again under the same `clientOrderId`, read an order before you change it again, resume a socket.",
    "too_large": "The body is larger than 64 KiB; send less at once.",
    "too_many_follows": "The sockets of your key follow as many orders as they may; unfollow some.",
    "too_many_open": "As many of your orders rest as may, and nothing was done; cancel some.",
    "too_many_sockets": "Your key has as many sockets open as it may; close some, or follow many orders on one.",
    "too_many_webhooks": "The account has as many webhooks as it may, and nothing was done; delete one.",
    "too_slow": "The body did not arrive in time, and the connection ends; send the request again.",
    "unauthorized": "No API key, or one that is unknown, revoked or expired; send `Authorization: Bearer <key>`.",
    "unsupported_media_type": "The body is not declared as JSON; set `Content-Type: application/json`.",
}
"""What an error can be, and what to do about it; a program goes by the codes, not by the words."""
MEANINGS = "\n".join(f"- `{code}`: {meaning}" for code, meaning in CODES.items())
"""The codes as the API's description lists them."""
