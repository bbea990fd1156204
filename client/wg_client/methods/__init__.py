"""Methods, one module each: a method makes one model from a package and the plant's records.

To add a method, write a module with a ``Method`` (``base``) and list it in ``registry``.
"""
