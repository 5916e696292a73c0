"""Warnings of `forkpolicy check`."""
