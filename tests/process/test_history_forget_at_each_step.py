"""A person is forgotten in a PostgreSQL of several hosts: rows, lines, files, and what an ingester had read already."""

from __future__ import annotations

import os
import signal
from contextlib import closing

import pytest

from forkpolicy.history.follow import log_files, whole_lines
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.lines import read_line
from forkpolicy.history.opening import open_history, open_store
from forkpolicy.history.personal.forgetting import forget
from forkpolicy.history.personal.person import Person
from forkpolicy.history.query import query_of
from forkpolicy.history_settings import HistorySettings
from tests.history_logs import NOON_S, begin, decision, new_id
from tests.postgresql_servers import Cluster, needs_postgresql

psycopg = pytest.importorskip("psycopg")
pytestmark = needs_postgresql
ANNA = "Anna.Of.Forget@Example.com"


@pytest.fixture(scope="module")
def cluster():
    """A server."""
    made = Cluster()
    made.make("history", "")
    yield made
    made.stop()


class Site:
    """A log and its history: three days, in which every fifth decision is about anna, and every seventh names her."""

    def __init__(self, folder, url):
        self.settings = HistorySettings(log=str(folder / "log.json"), url=url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS forkpolicy CASCADE")
        self.others, lines = {}, [begin()]
        for number in range(300):
            at_s = NOON_S - (2 - number // 100) * 86400 + number
            code = new_id()
            who = {"sender": f"s{number % 37}@example.org", "recipient": f"r{number % 41}@example.net"}
            if number % 5 == 0:
                who[("sender", "recipient", "sasl_username")[number % 3]] = ANNA if number % 2 else ANNA.lower()
            else:
                self.others[code] = at_s
            action = f"REJECT ask {ANNA.lower()}" if number % 7 == 0 else "REJECT no"
            lines.append(decision(at_s, code=code, action=action, **who))
        (folder / "log.json").write_bytes(b"".join(lines))
        self.log = folder / "log.json"

    def take_in(self):
        Ingester(str(self.log), open_store(self.settings), 3650, print, lambda: NOON_S).run_once(lambda _wait_s: False)

    def forget(self):
        return forget(self.settings, Person(ANNA), NOON_S)

    def assert_forgotten(self, cluster):
        history = open_history(self.settings)
        found = list(history.find(query_of([], NOON_S)))
        assert sorted(each.id for each in found) == sorted(self.others)
        for each in found:
            line = history.raw(each)
            assert each.id.encode() in line
            assert ANNA.lower().encode() not in line.lower()
        assert ANNA.lower().encode() not in self.log.read_bytes().lower()
        with psycopg.connect(self.settings.url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            assert connection.execute("SELECT count(*) FROM forkpolicy.days WHERE is_dirty").fetchone() == (0,)
        assert files_with_anna(cluster) <= statistics_of(self.settings.url, cluster)


def files_with_anna(cluster):
    """Of all databases."""
    files = [each for each in (cluster.directory / "data" / "base").rglob("*") if each.is_file()]
    return {str(each) for each in files if ANNA.lower().encode() in each.read_bytes()}


def statistics_of(url, cluster):
    """Where the planner may still have the most frequent addresses."""
    with psycopg.connect(url) as connection:
        (path,) = connection.execute("SELECT pg_relation_filepath('pg_statistic')").fetchone()
    return {str(cluster.directory / "data" / path)}


@pytest.fixture
def site(tmp_path, cluster):
    return Site(tmp_path, cluster.url("history"))


def test_nothing_is_left_of_a_person(site, cluster):
    """In no file of the tables; others are found as before, with their lines."""
    site.take_in()
    with psycopg.connect(site.settings.url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    assert len(files_with_anna(cluster) - statistics_of(site.settings.url, cluster)) > 3
    forgotten = site.forget()
    assert (forgotten.decisions, forgotten.blotted) == (60, 34)
    site.assert_forgotten(cluster)
    assert site.forget() == (0, 0)
    site.take_in()
    site.assert_forgotten(cluster)


def test_what_an_ingester_has_read_is_not_written(site, cluster):
    """It had read its log before that was changed, and commits after the days were."""
    store = open_store(site.settings)
    (file,) = log_files(str(site.log))
    assert store.position(file.id) == 0
    store.add(file.id, [(offset, read_line(raw)) for offset, raw in whole_lines(file, 0)])
    assert site.forget() == (0, 0)
    store.commit()
    store.close()
    assert list(open_history(site.settings).find(query_of([], NOON_S))) == []
    site.take_in()
    site.assert_forgotten(cluster)


def test_a_kill_at_any_step_can_be_begun_again(site, cluster, monkeypatch):
    """What was to be written anew is, by the next one."""
    site.take_in()
    real, kills = psycopg.Connection.wait, 0
    for step in range(1, 200, 4):
        child = os.fork()
        if not child:
            steps = 0

            def stepped(*arguments, **options):
                nonlocal steps
                steps += 1
                if steps == step:  # noqa: B023
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            psycopg.Connection.wait = stepped
            try:
                site.forget()
            finally:
                os._exit(0)
        kills += os.waitpid(child, 0)[1] == signal.SIGKILL
    assert kills > 5
    site.forget()
    site.assert_forgotten(cluster)


def test_a_reader_alone_may_not(site, cluster):
    """It says so, and nothing is changed."""
    site.take_in()
    with closing(psycopg.connect(site.settings.url, autocommit=True)) as connection:
        connection.execute("DROP ROLE IF EXISTS only_reads")
        connection.execute("CREATE ROLE only_reads LOGIN; GRANT USAGE ON SCHEMA forkpolicy TO only_reads")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA forkpolicy TO only_reads")
    url = f"postgresql://only_reads@/history?host={cluster.directory}"
    with pytest.raises(Exception, match="permission denied"):
        forget(HistorySettings(url=url), Person(ANNA), NOON_S)
    assert len(list(open_history(site.settings).find(query_of([ANNA], NOON_S)))) == 60
