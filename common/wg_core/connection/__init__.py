"""Every way out of the plant: one bounded transport, the link to the server, witnesses."""
