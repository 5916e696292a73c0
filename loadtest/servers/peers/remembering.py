"""Peers whose job is to remember: greylisting of strangers by postgrey and mtpolicyd, a limit per login by
policyd-rate-limit.

They remember in Berkeley DB, in memcached with SQLite, and in SQLite, as Debian's own configurations have it. memcached
runs below mtpolicyd, so that its CPU is counted and it ends with it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from loadtest.servers.peers.peer import OWNER, Peer
from loadtest.servers.peers.postgrey import POSTGREY
from loadtest.servers.peers.rate_limit import SETTINGS
from loadtest.traffic.counted import PROBE, PROBE_LIMIT, UNREACHED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadtest.servers.peers.peer import Right
    from loadtest.traffic.traffic import Day

GREYLISTING = "greylisting, new triplets"
LIMIT = "a limit per login, 1 h and 1 d"

MTPOLICYD_SETTINGS = """\
user={owner[0]}
group={owner[1]}
pid_file="{here}/pid"
log_level=0
host=127.0.0.1
port="{here}/peer.sock|unix"
min_servers={servers}
min_spare_servers=2
max_spare_servers={servers}
max_servers={most}
max_requests=1000000000
keepalive_timeout=300
max_keepalive=0
request_timeout=20
<Connection memcached>
    module = "Memcached"
    servers = "{here}/memcached.sock"
</Connection>
<Connection db>
    module = "Sql"
    dsn = "dbi:SQLite:dbname={here}/mtpolicyd.sqlite"
</Connection>
<VirtualHost {here}/peer.sock>
    name="greylisting"
    <Plugin greylist>
        module = "Greylist"
        mode = "passive"
    </Plugin>
</VirtualHost>
"""


def _mtpolicyd(here: Path, _day: Day, connections: int) -> list[str]:
    text = MTPOLICYD_SETTINGS.format(here=here, owner=OWNER, servers=connections + 2, most=connections + 10)
    (here / "settings.conf").write_text(text)
    memcached = f"memcached -u {OWNER[0]} -s {here}/memcached.sock -a 0666 -m 256"
    return ["/bin/sh", "-c", f"{memcached} & exec mtpolicyd -f -c {here}/settings.conf"]


def _rate_limit(here: Path, _day: Day, _connections: int) -> list[str]:
    text = SETTINGS.format(here=here, owner=OWNER, networks="[]")
    hour, day = 3600, 86400
    text = text.replace("[1000000000, 60]", f"[{UNREACHED}, {hour}]\n    - [{UNREACHED}, {day}]")
    text = text.replace("limits_by_id: {}", f'limits_by_id: {{"{PROBE}": [[{PROBE_LIMIT}, {hour}], [{1000}, {day}]]}}')
    (here / "settings.yaml").write_text(text)
    return ["policyd-rate-limit", "--file", f"{here}/settings.yaml"]


def _always(reply: bytes) -> Callable[[Day], Right]:
    return lambda _day: lambda _mail, _recipient: reply


MTPOLICYD_WAITS = b"action=defer greylisting is active\n\n"
POSTGREY_WAITS = b"action=DEFER_IF_PERMIT 4.2.0 Greylisted"
RATE_LIMIT_PASSES = b"action=dunno\n\n"

MTPOLICYD_GREYLISTING = Peer(
    "mtpolicyd", "mtpolicyd", "mtpolicyd memcached", GREYLISTING, _mtpolicyd, _always(MTPOLICYD_WAITS)
)
POSTGREY_GREYLISTING = dataclasses.replace(POSTGREY, job=GREYLISTING)
RATE_LIMIT_BY_LOGIN = Peer(
    "policyd-rate-limit", "policyd-rate-limit", "policyd-rate-limit", LIMIT, _rate_limit, _always(RATE_LIMIT_PASSES)
)
# Each with what its right reply begins with.
GREYLISTERS = ((POSTGREY_GREYLISTING, POSTGREY_WAITS), (MTPOLICYD_GREYLISTING, MTPOLICYD_WAITS))
LIMITERS = ((RATE_LIMIT_BY_LOGIN, RATE_LIMIT_PASSES),)
