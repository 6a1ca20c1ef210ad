"""What an accepted order is answered with: where it is to be found, absolute, as the client reached us."""

from typing import Any

from orders.flow.intake import Accepted


def links(scheme: str, host: str, order_id: str) -> dict[str, str]:
    """Return where an order, its events and its socket are; `scheme` is http or https."""
    base = f"{scheme}://{host}/api/orders/{order_id}"
    socket = "wss" if scheme == "https" else "ws"
    return {"self": base, "events": f"{base}/events", "ws": f"{socket}://{host}/ws/{order_id}"}


def acknowledgement(accepted: Accepted, scheme: str, host: str) -> dict[str, Any]:
    """Build the answer to an accepted order."""
    return {
        "orderId": accepted.order_id,
        "status": accepted.status,
        "createdAt": accepted.created_at,
        "links": links(scheme, host, accepted.order_id),
    }
