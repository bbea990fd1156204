"""The node that answers: one session, its messages, packages that come in, keys it follows."""
