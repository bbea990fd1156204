"""What plant and server share beside the core: modalities, networks, inference, languages."""
