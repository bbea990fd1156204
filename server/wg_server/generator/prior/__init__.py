"""What is known of a plant before any network runs: statistics, fitted priors, retrieval."""
