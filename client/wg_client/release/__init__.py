"""What leaves the plant: frozen data, charged statistics, and what they cost."""
