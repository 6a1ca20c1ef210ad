"""How the engine is put on a machine: bootstrap of `.venv`, embedded stores, and the launcher behind `up`."""
