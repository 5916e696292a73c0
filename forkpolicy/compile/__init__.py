"""`forkpolicy-compile`: from the sources that a policy declares to LMDB tables, whole or not at all."""
