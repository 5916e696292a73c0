"""The program `forkpolicy`: arguments in, exit status out. main.py has the table of its commands, one module each."""

from forkpolicy.commands.main import main

__all__ = ["main"]
