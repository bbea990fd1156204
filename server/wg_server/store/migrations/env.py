"""Alembic's entry point, which migrates on the connection that the caller passes."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
