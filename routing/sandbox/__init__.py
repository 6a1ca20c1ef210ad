"""A market and a chain that live on this machine: prices from time and a seed, settlement in Postgres rows.

What is built here gets plain values and reads no setting; only `stage`, which acts on the whole engine, does.
"""
