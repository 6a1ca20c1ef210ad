"""A market and a chain that live on this machine: prices from time and a seed, settlement in Postgres rows.

Nothing here reads a setting; whoever builds these objects passes plain values.
"""
