"""Task networks and the public encoder, shared by server and client (needs torch)."""
