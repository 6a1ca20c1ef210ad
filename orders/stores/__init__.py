"""What orders are in Redis and in Postgres, and how each is read and written."""
