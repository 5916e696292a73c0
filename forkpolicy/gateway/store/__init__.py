"""The store of held mail: `forkpolicy held serve`, a process of its own."""
