"""A what-if over a history in a real PostgreSQL is the one over files."""

from __future__ import annotations

import pytest

from forkpolicy.history.ingest import Ingester
from forkpolicy.history.opening import open_history, open_store
from forkpolicy.history.whatif.judging import what_if
from forkpolicy.history.whatif.policies import lines_of, load_now, load_tried
from forkpolicy.history_settings import HistorySettings
from tests.history_logs import NOON_S, begin, decision
from tests.postgresql_servers import Cluster, needs_postgresql

pytest.importorskip("psycopg")
pytestmark = needs_postgresql
POLICY = "acl from_us sender @example.com\naction no REJECT no\naccess from_us no\n"
DECISIONS = [
    decision(NOON_S - 2 * 86400, sender="u@example.com", client_address="192.0.2.1"),
    decision(NOON_S - 1, sender="u+x@example.com", client_address="2001:db8::1"),
    decision(NOON_S, sender="u%example.com@localhost", protocol_state="CONNECT"),
    decision(NOON_S, sender="v@example.com", client_address="192.0.2.1"),
]


@pytest.mark.parametrize(
    ("statements", "changed"),
    [
        ("acl u sender u@example.com / access u", [0, 1, 2]),
        ("acl n client_address 192.0.2.0/24 / access n", [0, 3]),
        ("acl u sender v@ / acl n client_address 192.0.2.0/24 / access u n", [3]),
    ],
)
def test_the_same_decisions_change(tmp_path, statements, changed):
    """By addresses, also those that Postfix rewrites, and networks; the day between is missing in both."""
    (tmp_path / "policy.conf").write_text(POLICY)
    mail = '[mail]\nrecipient_delimiter = "+"\nmyorigin = "example.com"\nlocal_domains = ["example.com"]\n'
    (tmp_path / "forkpolicy.toml").write_text(f'policy = "policy.conf"\n[history]\ndecisions = "all"\n{mail}')
    (tmp_path / "log.json").write_bytes(begin() + b"".join(DECISIONS))
    cluster = Cluster()
    try:
        cluster.make("history", "")
        for place in (HistorySettings(url=cluster.url("history")), HistorySettings(path=str(tmp_path / "history"))):
            ingester = Ingester(str(tmp_path / "log.json"), open_store(place), 3650, print, lambda: NOON_S)
            ingester.turn()
            ingester.close()
            now = load_now(str(tmp_path / "forkpolicy.toml"))
            found = what_if(open_history(place), now, load_tried(now, lines_of(statements)))
            at = [
                next(at for at, line in enumerate(DECISIONS) if each.found.id.encode() in line)
                for each in found.changed
            ]
            assert sorted(at) == changed
            assert [each.why for each in found.doubts] == ["missing"]
    finally:
        cluster.stop()
