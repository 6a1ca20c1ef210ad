"""Operators' figures, metrics and controls, and housekeeping that no order waits for."""
