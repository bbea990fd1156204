"""The plant's node: session with the server, answers, received packages, server keys."""
