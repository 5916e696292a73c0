"""postfwd with the founding rule: version 1 in one process, version 2 with a child for each connection.

Neither knows networks of IPv6, and neither has a cache of replies, which no real traffic would hit as a benchmark does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.servers.peers.peer import FOUNDING_RULE, OWNER, Peer
from loadtest.traffic.oracle import Oracle
from loadtest.traffic.traffic import PASSED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from loadtest.servers.peers.peer import Right
    from loadtest.traffic.traffic import Day


def _words1(here: Path, day: Day, _connections: int) -> list[str]:
    """One process for all connections."""
    return ["postfwd1", *_postfwd(here, day)]


def _words2(here: Path, day: Day, connections: int) -> list[str]:
    """A child for each connection."""
    # Net::Server refuses silently what does not satisfy: least <= most spare < most.
    servers = f"--min_servers {connections + 8} --min_spare_servers 5 --max_spare_servers {connections + 10}".split()
    servers += ["--max_servers", str(connections + 100)]
    cache = ["--cache_proto", "unix", "--cache_port", f"{here}/cache.sock", "--server_umask", "000"]
    return ["postfwd2", *_postfwd(here, day), *servers, *cache]


def _postfwd(here: Path, day: Day) -> list[str]:
    (here / "networks").write_text("\n".join(_of_ipv4(day.networks)) + "\n")
    (here / "domains").write_text("\n".join(name for name in day.domains if not name.startswith(".")) + "\n")
    parents = [name.replace(".", "\\.") for name in day.domains if name.startswith(".")]
    # The same item several times is a list.
    ours = [
        " ".join([f"{item}==file:{here}/domains;", *(f"{item}=~{name}$;" for name in parents)])
        for item in ("sender_domain", "recipient_domain")
    ]
    rules = [
        f"id=INSIDE; client_address==file:{here}/networks; action=DUNNO",
        "id=SIGNED_IN; sasl_method=~.; action=DUNNO",
        f"id=FORGED; {' '.join(ours)} action=REJECT no",
    ]
    (here / "rules.cf").write_text("\n".join(rules) + "\n")
    words = f"--file {here}/rules.cf --daemon --proto unix --port {here}/peer.sock --pidfile {here}/pid"
    return [*words.split(), *f"--user {OWNER[0]} --group {OWNER[1]} --umask 000 -n -c 0 --norulelog".split()]


def _of_ipv4(networks: Iterable[str]) -> list[str]:
    return [each for each in networks if ":" not in each]


def _right(day: Day) -> Right:
    """What is right for postfwd, whose networks are IPv4 only: no IPv6 client is inside."""
    oracle = Oracle(_of_ipv4(day.networks), day.domains)
    return lambda mail, recipient: b"action=REJECT no\n\n" if oracle.refuses(mail, recipient) else PASSED


POSTFWD1 = Peer("postfwd1", "postfwd1", "postfwd", f"{FOUNDING_RULE}, IPv4", _words1, _right, daemon=True)
POSTFWD2 = Peer("postfwd2", "postfwd2", "postfwd", f"{FOUNDING_RULE}, IPv4", _words2, _right, daemon=True)
