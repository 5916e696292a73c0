"""What `forkpolicy gateway setup` writes: the texts of the servers around the store. One place knows the recipe."""
