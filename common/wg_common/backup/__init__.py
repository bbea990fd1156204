"""Backup of a home in one encrypted file: its format, and the options of the commands."""
