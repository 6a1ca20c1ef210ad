"""The Django app: how an order comes in, moves, is seen and is kept."""
