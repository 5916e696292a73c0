"""A person is forgotten in PostgreSQL, in the log too, and others are found."""

from __future__ import annotations

import json

import pytest

from forkpolicy.history.ingest import Ingester
from forkpolicy.history.opening import open_history, open_store
from forkpolicy.history.personal.forgetting import forget
from forkpolicy.history.personal.person import Person
from forkpolicy.history.query import query_of
from forkpolicy.history_settings import HistorySettings
from tests.history_logs import NOON_S, begin, decision, new_id
from tests.postgresql_servers import Cluster, needs_postgresql

pytestmark = needs_postgresql
pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    yield cluster
    cluster.stop()


def test_a_person_is_forgotten_and_others_are_found(cluster, tmp_path):
    """Of two days; a line of somebody else's has the address blotted out, and a second time there is nothing to do."""
    cluster.make("forgetting", "")
    log = tmp_path / "log.json"
    settings = HistorySettings(log=str(log), path=str(tmp_path / "history"), url=cluster.url("forgetting"))
    others = {
        code: decision(NOON_S - number % 2 * 86_400, code=code)
        for number, code in enumerate(new_id() for _ in range(20))
    }
    named = new_id()
    lines = [decision(NOON_S - number * 43_200, sender="Anna@example.com") for number in range(4)]
    lines += [*others.values(), decision(code=named, action="REJECT ask anna@example.com")]
    log.write_bytes(begin() + b"".join(sorted(lines)))
    Ingester(str(log), open_store(settings), 3650, print, lambda: NOON_S).run_once(lambda _wait_s: False)
    forgotten = forget(settings, Person("anna@example.com"), NOON_S)
    assert forgotten == (4, 1)
    history = open_history(settings)
    found = {each.id: history.raw(each) + b"\n" for each in history.find(query_of([], NOON_S))}
    assert json.loads(found.pop(named))["action"] == "REJECT ask ****************"
    assert found == others
    assert b"anna@" not in log.read_bytes().lower()
    assert "anna@" not in cluster.dump("forgetting").lower()
    assert forget(settings, Person("anna@example.com"), NOON_S) == (0, 0)
