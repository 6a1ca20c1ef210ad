"""The `manage.py` commands for orders."""
