"""What may surprise the author of a policy that loads: the warnings of `forkpolicy check`."""
