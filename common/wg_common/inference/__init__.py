"""Statistics that server and plant compute from released numbers."""
