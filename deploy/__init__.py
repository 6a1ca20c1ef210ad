"""How the engine is put on a machine: `.venv`, stores and launcher behind `up`; and as roles by themselves, in an image."""
