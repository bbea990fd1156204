"""Home folder, configuration and certificate authority of the server."""
