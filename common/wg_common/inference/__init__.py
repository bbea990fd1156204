"""Statistics that both sides compute from released numbers."""
