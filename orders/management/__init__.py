"""Commands of `manage.py` that belong to this room."""
