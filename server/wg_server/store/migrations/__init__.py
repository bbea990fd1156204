"""Migrations of the store, run by ``wg_server.store.database.open_engine``."""
