"""The audit of the installed path: a whole plant over made-up files."""
