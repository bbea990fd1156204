"""Fleet side of the server: listeners, enrolment, witness and Flower adapter."""
