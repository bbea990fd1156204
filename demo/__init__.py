"""Demonstration in one command: two servers and their plants, with one story for each plant."""
