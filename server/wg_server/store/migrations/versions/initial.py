"""The tables of 0.1.0, as ``schema`` made them: where later migrations begin."""

revision = "0001"
down_revision = None
