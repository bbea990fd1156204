"""What crosses a trust boundary: encodings, signatures, files and messages."""
