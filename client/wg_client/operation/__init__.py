"""A plant from day to day: backup and restore of its home, and how it is."""
