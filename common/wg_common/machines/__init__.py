"""Kinds of machines that a data sheet can declare, one module each."""
