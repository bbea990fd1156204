"""Statistical estimates of a plant's classes: site statistics, BLUP, pooling and class names."""
