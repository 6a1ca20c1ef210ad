"""The domain rules of orders, quotes and events.

Pure: the standard library, and msgspec for the shape of events; time, randomness and waiting are arguments.
"""
