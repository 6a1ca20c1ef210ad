"""What holds for every test."""

from hypothesis import settings

# An example's time says how busy the machine is, not whether the code is right.
settings.register_profile("engine", deadline=None)
settings.load_profile("engine")
