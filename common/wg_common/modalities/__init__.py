"""Modalities: the accepted kinds of records, and their readers."""
