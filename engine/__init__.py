"""The domain rules of orders, quotes and events.

Pure: standard library only; time, randomness and waiting are passed in as arguments.
"""
