"""Demonstration in one command: two servers and their plants, with a story of each plant."""
