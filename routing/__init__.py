"""The outside world: venues, the quote cache, the best price, the router and the chain."""
