"""Data that cross a trust boundary: encodings, signatures, files and messages."""
