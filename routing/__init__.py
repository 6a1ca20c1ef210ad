"""Market access: venues, the quote cache, the best price, the router and the chain."""
