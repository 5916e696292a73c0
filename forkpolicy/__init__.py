"""forkpolicy, a pre-forked policy server for Postfix. Holds the version, nothing else."""

__version__ = "0.1.0"
