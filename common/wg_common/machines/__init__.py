"""Kinds of machines that a data sheet can state, one module each."""
