"""The whole federation in one command: a server and five plants, and a story of each."""
