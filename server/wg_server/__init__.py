"""The central server: zoo, generator, fleet, campaigns."""
