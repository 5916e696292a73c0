"""Questions to name servers: a resolver on c-ares with a cache, on a loop that is passed in.

resolver.py asks, cache.py keeps answers, answers.py says what records mean, channels.py is the only home of pycares,
loop.py is the loop of commands; that of a worker is its own (worker/dns_loop.py). Importing resolver.py takes pycares,
which is an extra, so it is imported where it is used; `require` does that before a process gives up root.
"""


def require() -> None:
    """Import what asking takes. Raises ImportError without the extra `forkpolicy[dns]`."""
    import forkpolicy.world.dns.resolver  # noqa: F401, PLC0415 - an extra
