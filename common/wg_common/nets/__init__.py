"""Public networks that both sides hold: the frozen encoder and the architectures on top of it."""
