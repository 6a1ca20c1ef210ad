"""Who asks, and what they may do: API keys, sessions of people who have logged in, and single-use tickets."""
