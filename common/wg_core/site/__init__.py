"""The home folder of a plant: configuration, policy, identity, locks, the confirmed encoder."""
