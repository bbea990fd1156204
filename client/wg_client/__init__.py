"""The plant: data set, release, node, acceptance, fine-tuning."""
