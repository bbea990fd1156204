"""The fleet: listener, enrolment and Flower adapter."""
