"""Optional extra: multilingual-e5-small as a second trunk for texts."""
