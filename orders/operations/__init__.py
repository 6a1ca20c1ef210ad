"""What operators see and change, and the housekeeping that no order waits for."""
