"""`forkpolicy gateway`: sets up a smart relay in front of a mail server, and checks it."""
