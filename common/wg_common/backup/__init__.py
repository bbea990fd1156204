"""One encrypted file that holds a home: the format, and the options of the commands."""
