"""Public encoder: fixed trunks, a projection fitted on public data, and the encoder package."""
