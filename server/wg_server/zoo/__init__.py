"""The zoo: public tasks, each with its features and trained weights, kept by content."""
