"""Simulated plants, drawn from the zoo, to train and to measure on."""
