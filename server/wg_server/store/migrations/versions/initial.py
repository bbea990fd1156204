"""Schema of version 0.1.0, from which later migrations start."""

revision = "0001"
down_revision = None
