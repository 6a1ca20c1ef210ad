"""Reading and writing orders in Redis and in Postgres."""
