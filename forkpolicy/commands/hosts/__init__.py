"""`forkpolicy hosts`: what many hosts run, side by side."""
