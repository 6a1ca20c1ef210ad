"""Bugs that can be planted in a running engine, to prove that the chaos run finds them.

Nothing in the engine knows of them: `site/sitecustomize.py` is put on PYTHONPATH of the processes under test, and
changes the text of a few lines, of Python or Lua, as they are loaded.
"""
