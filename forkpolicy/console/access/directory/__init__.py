"""People without an account of the console: another server says that they are who they say they are."""
