"""The server's home folder, its configuration and its certificate authority."""
