"""What server, client and auditor share: privacy, ledger, packages, protocol, errors."""

__version__ = "0.1.0"
