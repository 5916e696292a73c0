"""`forkpolicy top`."""
