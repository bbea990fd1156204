"""What leaves the plant: frozen data, charged statistics, contributions, and what they cost."""
