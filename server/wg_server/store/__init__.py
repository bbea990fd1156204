"""Persistent state of the server: the database of sites, their ledgers, releases and campaigns."""
