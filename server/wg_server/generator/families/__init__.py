"""The operator's families: matching of plants by class names, heads, and likeness tests."""
