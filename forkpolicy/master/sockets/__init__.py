"""The descriptors of the master: made, inherited, waited for, written to."""
