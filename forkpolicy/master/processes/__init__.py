"""The children of the master: how each is forked, what the logger and the exporter do, and how deaths are found."""
