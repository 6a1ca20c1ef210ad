"""An independent judge: what clients were told, what Postgres holds and what the chain executed, against each other.

It imports nothing of the engine: the standard library and psycopg only, which a test enforces.
"""
