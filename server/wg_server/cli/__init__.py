"""The commands of ``wg-server``: one module for each group of commands."""
