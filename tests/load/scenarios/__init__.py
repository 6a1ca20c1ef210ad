"""The load scenarios: Locust files that check what clients receive, and a command that runs all of them."""
