"""A name server that does what it is told, for tests and fire drills."""
