"""The generator of linear heads on the shared encoder."""
