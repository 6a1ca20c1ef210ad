"""Addresses of one order, absolute, as the client reached us."""


def links(scheme: str, host: str, order_id: str) -> dict[str, str]:
    """Return where an order, its events and its socket are; `scheme` is http or https."""
    base = f"{scheme}://{host}/api/orders/{order_id}"
    socket = "wss" if scheme == "https" else "ws"
    return {"self": base, "events": f"{base}/events", "ws": f"{socket}://{host}/ws/{order_id}"}
