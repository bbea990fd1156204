"""Empirical audit of the installed release code: a whole plant on simulated files."""
