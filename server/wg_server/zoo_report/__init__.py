"""How diverse a zoo is, what it has too much of, and how far a plant lies from it."""
