"""Predictions for a plant without a network: site statistics, BLUP, retrieval, conditioning."""
