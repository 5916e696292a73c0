"""The store of several hosts, as a worker asks it: one pipelined connection a node, and no greenlet a question.

store.py is what the policy asks. It has one `Node` for each server (node.py), which keeps a connection
(connection.py, made by connecting.py) and a breaker; places.py knows which node has a key, packing.py makes the bytes
of a command.
"""
