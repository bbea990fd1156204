"""What a generator is worth: model cards, their checks, and the quality gate."""
