"""Day-to-day operation of a plant: backup and restore of its home, status, watch."""
