"""`forkpolicy console`: the web console and its accounts."""
