"""Whole small networks: weights as tokens, their zoo neighbours, and a diffusion over them."""
