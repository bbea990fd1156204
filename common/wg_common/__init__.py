"""Code beside the core that plant and server share: modalities, networks, inference, languages."""
