"""`python -m loadtest name-server`: a name server on loopback that answers rightly, wrongly, late or never.

Every name of a --zone is answered as its BEHAVIOUR says, all others are not there. It ends with its standard input
(^D), and prints then how often each zone was asked.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING

from loadtest.errors import SetupError
from loadtest.servers.names.server import LOOPBACK, NameServer
from loadtest.servers.names.spec import WORDS, behaviour, zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def main(argv: Sequence[str]) -> int:
    """Serve until standard input ends."""
    options = _options(argv)
    zones = dict(options.zone)
    try:
        server = NameServer(
            zones={name: behaviour(word) for name, word in zones.items()},
            address=options.address,
            port=options.port,
            tcp=not options.no_tcp,
        )
    except OSError as error:
        raise SetupError(f"cannot listen on {options.address}, port {options.port}: {error.strerror}") from error
    with server:
        print(f"a name server on {server.address}", flush=True)
        sys.stdin.read()
    for name, count in _by_zone(zones, server.asked):
        print(f"{count:>9}  {name}")
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest name-server", description=__doc__)
    words = ", ".join(WORDS)
    parser.add_argument(
        "--zone", type=_zone, action="append", default=[], metavar="ZONE=BEHAVIOUR", help=f"{words}; several"
    )
    parser.add_argument("--address", default=LOOPBACK, help="(default %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="for UDP and TCP; 0, the default: a free one")
    parser.add_argument("--no-tcp", action="store_true", help="refuse connections")
    return parser.parse_args(argv)


def _zone(text: str) -> tuple[str, str]:
    try:
        return zone(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _by_zone(zones: Iterable[str], asked: Counter[tuple[str, str]]) -> list[tuple[str, int]]:
    """How often names of each zone were asked for, and names of none."""
    counts: Counter[str] = Counter(dict.fromkeys(zones, 0))
    for (name, _), count in asked.items():
        found = [each for each in zones if f".{name}".endswith(f".{each}")]
        counts[max(found, key=len, default="other names")] += count
    return list(counts.items())
