"""Operator's families: matching to plants by class names, heads, and likeness tests."""
