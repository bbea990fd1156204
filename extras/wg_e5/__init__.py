"""multilingual-e5-small as a second trunk of texts: an extra that nothing of weightgate imports."""
