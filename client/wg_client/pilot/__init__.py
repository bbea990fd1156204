"""Before anything leaves: what a plant may expect, and what that is worth to it."""
