"""What several commands use. Nothing here knows a command, and commands know each other by nothing else."""
