"""The tamper-evident privacy ledger."""
