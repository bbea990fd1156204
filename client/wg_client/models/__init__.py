"""Kept models: stored, used for prediction, exported."""
