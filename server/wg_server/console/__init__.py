"""The operator's view of a running server."""
