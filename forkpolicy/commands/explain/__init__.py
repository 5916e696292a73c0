"""`forkpolicy explain`: the command, the request that its arguments mean, and the explanation as text."""
