"""Central server: zoo, generator, fleet and campaigns."""
