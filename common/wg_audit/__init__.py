"""Offline auditor of ledgers and releases, which trusts no party."""
