"""Migrations of the store, run by ``wg_server.database.open_engine``."""
