"""The WebSocket API: an order's events, markets, and orders placed over the socket."""
