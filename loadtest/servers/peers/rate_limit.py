"""policyd-rate-limit: it counts by login and by client, with a limit that no sender reaches. It needs a database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from loadtest.servers.peers.peer import OWNER, Peer

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.servers.peers.peer import Right
    from loadtest.traffic.traffic import Day


SETTINGS = """\
debug: False
user: "{owner[0]}"
group: "{owner[1]}"
pidfile: "{here}/pid"
sqlite_config:
    database: "{here}/db.sqlite3"
backend: 0
SOCKET: "{here}/peer.sock"
socket_permission: 0666
limits:
    - [1000000000, 60]
limits_by_id: {{}}
limit_by_sasl: True
limit_by_sender: False
limit_by_ip: True
limited_networks: {networks}
success_action: "dunno"
fail_action: "defer_if_permit Rate limit reached"
db_error_action: "defer_if_permit No database"
delay_to_close: 300
report: False
report_from: null
report_to: null
report_subject: "report"
report_limits: [86400]
report_only_if_needed: True
smtp_server: ["localhost", 25]
smtp_starttls: False
smtp_credentials: null
"""


def _words(here: Path, day: Day, _connections: int) -> list[str]:
    """It counts in SQLite, by login and by client of the networks of the site."""
    (here / "settings.yaml").write_text(SETTINGS.format(here=here, owner=OWNER, networks=json.dumps(day.networks)))
    return ["policyd-rate-limit", "--file", f"{here}/settings.yaml"]


def _right(_day: Day) -> Right:
    """A limit that no sender reaches."""
    return lambda _mail, _recipient: b"action=dunno\n\n"


RATE_LIMIT = Peer(
    "policyd-rate-limit",
    "policyd-rate-limit",
    "policyd-rate-limit",
    "counting by login or network",
    _words,
    _right,
)
