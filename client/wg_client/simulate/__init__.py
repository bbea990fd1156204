"""Estimates before anything leaves the plant: its expected gain, and the value of an offer."""
