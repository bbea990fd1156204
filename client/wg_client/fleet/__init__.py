"""The plant's side of a fleet: set-up, enrolment, re-enrolment and key rotation."""
