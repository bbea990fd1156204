"""MiniLM as a further trunk of texts: an extra that nothing of weightgate imports."""
