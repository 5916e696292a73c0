"""The command `forkpolicy`: the only place that wires master, worker and tools together."""

from forkpolicy.commands.main import main

__all__ = ["main"]
