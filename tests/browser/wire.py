"""The desk's line of orders in a test's hands: what the engine says of one order is replaced, all else passes."""

import json
from typing import Any

from tests.browser.desk import Desk

Json = dict[str, Any]


class Wire:
    """Stands between a desk and its engine; of the order it tells nothing but what it is told to tell."""

    def __init__(self, desk: Desk, order_id: str) -> None:
        self.desk, self.order_id = desk, order_id
        self.asked: list[Json] = []
        """Where the desk took the order up, each time it asked."""
        self.page: Any = None
        desk.page.route_web_socket("**/ws/orders", self.between)
        desk.page.reload()
        desk.is_live()
        desk.until(lambda: self.asked, "the desk asks for the order")

    def between(self, page: Any) -> None:
        """Connect the page to its engine."""
        self.page = page
        engine = page.connect_to_server()
        page.on_message(lambda text: engine.send(self.without_it(text)))
        engine.on_message(page.send)

    def without_it(self, text: str) -> str:
        """Take the order out of what the desk asks the engine for."""
        message = json.loads(text)
        self.asked += [one for one in message.get("follow", []) if one["orderId"] == self.order_id]
        message["follow"] = [one for one in message.get("follow", []) if one["orderId"] != self.order_id]
        return json.dumps(message)

    def tell(self, *messages: Json) -> None:
        """Tell the desk something of the order."""
        for message in messages:
            self.page.send(json.dumps({**message, "orderId": self.order_id}))

    def cut(self) -> None:
        """Break the line, and wait until the desk has asked for the order again."""
        asked = len(self.asked)
        self.page.close(code=1012)
        self.desk.until(lambda: len(self.asked) > asked, "the desk comes back")
