"""How the engine is put on a machine: `.venv`, embedded stores and the launcher behind `up`; a role by itself, and its image."""
