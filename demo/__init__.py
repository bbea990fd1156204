"""The whole federation in one command: a server and three plants, real processes, real data."""
