"""What `forkpolicy check --postfix` finds: a Postfix and a policy examined together, one question a file."""
