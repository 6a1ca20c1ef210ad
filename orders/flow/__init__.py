"""An order's way: accepted, routed, submitted, settled, ended; and back in order after a loss."""
