"""`forkpolicy import`: another server's rules as a policy of ours."""
