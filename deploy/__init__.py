"""How the engine is put on a machine: `.venv`, stores and launcher behind `up`; one role by itself, and the image."""
