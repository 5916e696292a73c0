"""What `forkpolicy check --postfix` finds: a Postfix and a policy looked at together, one question a file."""
