"""Digests: mail about held mail. `forkpolicy gateway digest` asks the store who is due, and sends (running.py)."""
