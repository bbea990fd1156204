"""Console of a running server: pages, metrics and probes for its operator."""
