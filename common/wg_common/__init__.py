"""Code outside the core that plant and server share: modalities, networks, inference, languages."""
