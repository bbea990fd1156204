"""A server from its first start on: a new home, the process that serves, new keys."""
