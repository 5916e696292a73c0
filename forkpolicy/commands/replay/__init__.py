"""`forkpolicy replay`: the command, the policies that it asks, and the report."""
