"""`forkpolicy whatif`: the command, and its report."""
