"""Past decisions, searchable: the log of `[history]` taken into one SQLite file a day, and questions to those files.

Apart from the server: nothing here imports its processes, and they import nothing of this.
"""
