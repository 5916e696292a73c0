"""`forkpolicy state`: what the policy remembers, shown and changed."""
