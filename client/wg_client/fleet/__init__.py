"""The plant as a member of a fleet: enrolment, the node that answers, keys, packages."""
