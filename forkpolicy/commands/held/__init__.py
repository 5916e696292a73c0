"""`forkpolicy held`: the store of held mail, and what it is asked."""
