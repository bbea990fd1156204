"""Node of a plant: session with the server, answers, received packages, server keys."""
