"""Operation of a server: creation of a home, serving, backup, and key rotation."""
