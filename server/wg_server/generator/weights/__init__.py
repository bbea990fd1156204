"""One generator of weights: linear heads and whole networks, from releases and the zoo."""
