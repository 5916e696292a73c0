"""`forkpolicy completion`: scripts by which shells complete, and the names that they ask for."""
