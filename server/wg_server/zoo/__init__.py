"""The zoo: public tasks with features, addressed by content."""
