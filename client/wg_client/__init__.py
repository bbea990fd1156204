"""The plant's client: data set, release, node, model selection, fine-tuning."""
