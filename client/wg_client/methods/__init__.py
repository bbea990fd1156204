"""Methods: each makes one model of a package and the plant's records; one module a method.

To add one: a module with a ``Method`` (``base``), and its line in ``registry``.
"""
