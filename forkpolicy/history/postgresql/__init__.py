"""Past decisions of several hosts in one PostgreSQL: written by the ingester of each, read as the files of a host are.

psycopg is an optional extra (`pip install 'forkpolicy[postgresql]'`) and is imported in here alone, which opening.py
imports when `[history] url` is set.
"""
