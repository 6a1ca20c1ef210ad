"""What a run stands on: stores of its own, which can be hurt in every way, and the engine on them."""
