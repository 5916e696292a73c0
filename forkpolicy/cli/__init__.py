"""The command `forkpolicy`: the only place that wires master, worker and tools together."""

from forkpolicy.cli.main import main

__all__ = ["main"]
