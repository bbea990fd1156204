"""Evaluation of generators: simulated plants, model cards and their checks."""
