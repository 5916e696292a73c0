"""The policy language: text to nodes, nodes to decisions. Knows mail, knows no process and no socket."""
