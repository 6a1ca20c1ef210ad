"""One file per worker: file = queue = process.

A task is an entry point: it takes ids, makes one call and returns nothing.
"""
