"""All of the plant's outgoing connections: bounded transport, server link, witnesses."""
