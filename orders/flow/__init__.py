"""The order flow: accept, route, submit, settle and finish orders, and recover them after a loss."""
