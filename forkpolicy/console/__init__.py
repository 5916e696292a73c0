"""The web console: a process of its own that looks at the running server and at the history, and changes one file.

It imports neither master nor worker.
"""
