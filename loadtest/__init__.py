"""Tools that drive forkpolicy from outside: a demonstration, benchmarks, and days of mail with known verdicts.

`python -m loadtest --help` lists the commands. Runs from a checkout; nothing here is installed, and nothing here is
imported by the server. The tests borrow its private Postfix, its clients and its server handle.
"""
