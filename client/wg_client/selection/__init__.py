"""Model selection: a package's candidates against local-only, on held-out records."""
