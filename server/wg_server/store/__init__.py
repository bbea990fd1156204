"""What the server remembers: the database, sites and their logs, the queue of campaigns."""
