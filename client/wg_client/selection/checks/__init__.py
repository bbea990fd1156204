"""Acceptance checks, one module each: conditions that a model must pass before it is kept.

To add a check, write a module with an ``AcceptanceCheck`` (``base``) and list it in ``registry``.
"""
