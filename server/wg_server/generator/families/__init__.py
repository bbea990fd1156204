"""Plants of the operator's own families: how they are found, and the heads they get."""
