"""Everybody who trades in a run: a process of its own, which knows the engine by its public API alone.

Whatever a client is answered or told is appended to a journal, in the order in which it came.
"""
