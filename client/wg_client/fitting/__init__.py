"""Fitting models on labelled records at the plant. Nothing here chooses between models."""
