"""Peers whose job is to remember: greylisting of strangers by postgrey and mtpolicyd, a limit per login by
policyd-rate-limit and mtpolicyd.

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
{connection}
<Connection db>
    module = "Sql"
    dsn = "dbi:SQLite:dbname={here}/mtpolicyd.sqlite"
</Connection>
<VirtualHost {here}/peer.sock>
    name="remembering"
{plugins}
</VirtualHost>
"""
MEMCACHED = """\
<Connection memcached>
    module = "Memcached"
    servers = "{here}/memcached.sock"
</Connection>"""
GREYLIST = """\
    <Plugin greylist>
        module = "Greylist"
        mode = "passive"
    </Plugin>"""
QUOTA = """\
    <Plugin quota_{name}>
        module = "Quota"
        table_prefix = "{table}_"
        time_pattern = "{pattern}"
        field = "sasl_username"
        metric = "count"
        threshold = {limit}
        action = "defer too much mail"
    </Plugin>"""
ONLY_THE_PROBE = """\
    <Plugin probe>
        module = "Condition"
        key = "sasl_username"
        match = "{login}"
    {quota}
    </Plugin>"""
ACCOUNTING = """\
    <Plugin count_{table}>
        module = "Accounting"
        table_prefix = "{table}_"
        time_pattern = "{pattern}"
        fields = "sasl_username"
    </Plugin>"""
HOUR, DAY = {"table": "hour", "pattern": "%Y-%m-%d %H"}, {"table": "day", "pattern": "%Y-%m-%d"}
# Where the file is not its user's, mtpolicyd cannot write and closes each connection.
MAKE_DATABASE = "touch {here}/mtpolicyd.sqlite; chown {owner[0]}:{owner[1]} {here}/mtpolicyd.sqlite"


def _greylisting(here: Path, _day: Day, connections: int) -> list[str]:
    memcached = f"memcached -u {OWNER[0]} -s {here}/memcached.sock -a 0666 -m 256 &"
    return _mtpolicyd(here, connections, GREYLIST, MEMCACHED.format(here=here), memcached)


def _quotas(here: Path, _day: Day, connections: int) -> list[str]:
    probe = QUOTA.format(name="probe", limit=PROBE_LIMIT, **HOUR)
    plugins = [ONLY_THE_PROBE.format(login=PROBE, quota=probe)]
    plugins += [QUOTA.format(name=each["table"], limit=UNREACHED, **each) for each in (HOUR, DAY)]
    plugins += [ACCOUNTING.format(**each) for each in (HOUR, DAY)]
    return _mtpolicyd(here, connections, "\n".join(plugins))


def _mtpolicyd(here: Path, connections: int, plugins: str, connection: str = "", before: str = "") -> list[str]:
    numbers = {"servers": connections + 2, "most": connections + 10}
    text = MTPOLICYD_SETTINGS.format(here=here, owner=OWNER, plugins=plugins, connection=connection, **numbers)
    (here / "settings.conf").write_text(text)
    database = MAKE_DATABASE.format(here=here, owner=OWNER)
    return ["/bin/sh", "-c", f"{database}; {before} exec mtpolicyd -f -c {here}/settings.conf"]


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
DUNNO = b"action=dunno\n\n"

MTPOLICYD_GREYLISTING = Peer(
    "mtpolicyd", "mtpolicyd", "mtpolicyd memcached", GREYLISTING, _greylisting, _always(MTPOLICYD_WAITS)
)
MTPOLICYD_BY_LOGIN = Peer("mtpolicyd", "mtpolicyd", "mtpolicyd", LIMIT, _quotas, _always(DUNNO))
POSTGREY_GREYLISTING = dataclasses.replace(POSTGREY, job=GREYLISTING)
RATE_LIMIT_BY_LOGIN = Peer(
    "policyd-rate-limit", "policyd-rate-limit", "policyd-rate-limit", LIMIT, _rate_limit, _always(DUNNO)
)
# Each with what its right reply begins with.
GREYLISTERS = ((POSTGREY_GREYLISTING, POSTGREY_WAITS), (MTPOLICYD_GREYLISTING, MTPOLICYD_WAITS))
LIMITERS = ((RATE_LIMIT_BY_LOGIN, DUNNO), (MTPOLICYD_BY_LOGIN, DUNNO))
