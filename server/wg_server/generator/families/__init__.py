"""What the operator's own records say of a kind of plant."""
