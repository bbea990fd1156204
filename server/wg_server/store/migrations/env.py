"""Alembic's entry point: run on the connection that the caller hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
