"""`forkpolicy history`: past decisions."""
