"""Kinds of records: what is accepted as one, and how it is read."""
