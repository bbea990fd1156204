"""Commands of ``wg-client``, one module for each group of commands."""
