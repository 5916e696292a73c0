"""`forkpolicy explain`: the command, and the request that its arguments mean."""
