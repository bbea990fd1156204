"""The pilot, before anything leaves the plant: expected gain and its value to the plant."""
