"""`forkpolicy serve`: the command, and the composition root that puts master, workers and compiler together."""
