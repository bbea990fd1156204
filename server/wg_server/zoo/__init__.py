"""The zoo: public tasks, each with its features, kept by content."""
