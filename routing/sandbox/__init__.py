"""A simulated market and chain on this machine: prices from time and a seed, settlement in Postgres rows.

The objects here are built from plain values and read no settings; only `stage`, which acts on the whole engine, does.
"""
