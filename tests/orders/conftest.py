"""What holds for the commands that a person may interrupt."""

import signal

import pytest


@pytest.fixture
def interruptible():
    """Take SIGINT as a terminal would send it: a shell's background jobs are started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
