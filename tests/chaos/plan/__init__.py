"""What a run does, decided by its seed: which orders come and what becomes of them, what breaks, how the price moves.

The seed decides every choice and its moment; how processes then share two cores it cannot decide.
"""
