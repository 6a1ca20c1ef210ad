"""What an order is and may do.

Pure: standard library only; time, chance and waiting are arguments.
"""
