"""The public encoder: fixed trunks, a projection fitted on public data, and its package."""
