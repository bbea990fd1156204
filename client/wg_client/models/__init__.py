"""Models at the plant: storage, adoption, prediction, export."""
