"""Public networks that plant and server share: the frozen encoder, and models on its features."""
