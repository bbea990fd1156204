"""Acceptance checks: each says one thing of a model before it may be kept; one module a check.

To add one: a module with an ``AcceptanceCheck`` (``base``), and its line in ``registry``.
"""
