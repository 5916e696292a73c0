"""Several hosts write one history to a real PostgreSQL: nothing is lost or doubled, whatever ends at which step."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from forkpolicy.history import ingest
from forkpolicy.history.errors import HistoryError, UnavailableError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.opening import open_history, open_store
from forkpolicy.history.query import query_of
from forkpolicy.history.rollup_sums import Fired, open_rollups, slot_of
from forkpolicy.history_settings import HistorySettings
from tests.history_logs import NOON_S, begin, decision, line_of, new_id
from tests.postgresql_servers import Cluster, needs_postgresql
from tests.process.waiting import eventually

psycopg = pytest.importorskip("psycopg")
pytestmark = needs_postgresql
DAY_S = 86400
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster():
    """A server."""
    made = Cluster()
    made.make("history", "")
    yield made
    made.stop()


@pytest.fixture
def place(cluster, monkeypatch):
    """An empty history; an ingester commits every seven lines."""
    monkeypatch.setattr(ingest, "LINES_A_COMMIT", 7)
    monkeypatch.setattr(ingest, "LINES_AT_ONCE", 7)
    monkeypatch.setattr(ingest, "YIELD_S", 0)
    with psycopg.connect(cluster.url("history"), autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS forkpolicy CASCADE")
    return HistorySettings(url=cluster.url("history"))


def a_log(folder, number, name="log.json"):
    """Around midnight; (its path, the line of each id)."""
    midnight_s, lines = NOON_S + DAY_S / 2, {}
    for at in range(number):
        code = new_id()
        lines[code] = decision(midnight_s + (at - number / 2) / 3, code=code, sender=f"{at % 5}@example.org")
    path = folder / name
    path.write_bytes(begin() + b"".join(lines.values()))
    return path, lines


def turn(place, log, said=print):
    """Take in what is there."""
    ingester = Ingester(str(log), open_store(place), 3650, said, lambda: NOON_S)
    try:
        ingester.turn()
    finally:
        ingester.close()


def assert_all_once(place, lines):
    """Each decision is there, and once, with its own line, and counted once."""
    history = open_history(place)
    found = list(history.find(query_of([], NOON_S)))
    assert sorted(each.id for each in found) == sorted(lines)
    for each in found:
        assert history.raw(each) + b"\n" == lines[each.id]
    with psycopg.connect(place.url) as connection:
        assert connection.execute("SELECT sum(decisions) FROM forkpolicy.rollups").fetchone() == (len(lines),)


@contextmanager
def at_step(monkeypatch, number, act, *, loses_answer=False):
    """Each exchange with the server is two steps: before anything is sent, and when its answer is there."""
    steps, real = [], psycopg.Connection.wait

    def stepped(connection, generator, *arguments, **options):
        steps.append("before")
        if len(steps) == number:
            act(connection)
        result = real(connection, generator, *arguments, **options)
        steps.append("after")
        if len(steps) == number:
            act(connection)
            if loses_answer:
                raise psycopg.OperationalError("the connection ended before its answer came")
        return result

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "wait", stepped)
        yield steps


def in_a_fork(act):
    """Whether a child that does this got to its end."""
    child = os.fork()
    if not child:
        try:
            act()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def test_the_ingester_is_killed_at_each_step(place, tmp_path, monkeypatch):
    """The next one goes on where the last commit was."""
    log, lines = a_log(tmp_path, 40)

    def killed_at(step):
        with at_step(monkeypatch, step, lambda _: os.kill(os.getpid(), signal.SIGKILL)):
            turn(place, log)

    statuses = [in_a_fork(lambda: killed_at(step)) for step in range(1, 200, 3)]  # noqa: B023
    assert set(statuses) == {0, signal.SIGKILL}
    assert statuses.count(signal.SIGKILL) > 20
    assert_all_once(place, lines)


def shut(connection):
    """The network is cut; the server has got what was sent."""
    with socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)
    connection.close()


def test_the_connection_is_cut_at_each_step(place, cluster, tmp_path, monkeypatch):
    """Also between a commit and its answer: then the position says that it was one."""
    log, lines = a_log(tmp_path, 14)
    with at_step(monkeypatch, 0, shut) as steps:
        turn(place, log)
    assert len(steps) > 40
    for step in range(1, len(steps) + 1):
        log, more = a_log(tmp_path, 14)
        lines.update(more)
        with at_step(monkeypatch, step, shut, loses_answer=True):
            ingester = Ingester(str(log), open_store(place), 3650, print, lambda: NOON_S)
            for _ in range(3):
                ingester.run_once(lambda _wait_s: False)
    assert_all_once(place, lines)


def test_the_server_is_killed_at_some_steps(place, cluster, tmp_path, monkeypatch):
    """It comes back with what was committed."""
    log, lines = a_log(tmp_path, 60)

    def crash(_connection):
        cluster.crash()
        cluster.start()

    ingester = Ingester(str(log), open_store(place), 3650, print, lambda: NOON_S)
    for step in (3, 20, 41, 48, 49, 50, 51):
        with at_step(monkeypatch, step, crash, loses_answer=True):
            ingester.run_once(lambda _wait_s: False)
        with log.open("ab") as more:
            for _ in range(14):
                code = new_id()
                lines[code] = decision(NOON_S, code=code)
                more.write(lines[code])
    ingester.run_once(lambda _wait_s: False)
    assert_all_once(place, lines)


def test_a_commit_that_is_not_over_is_waited_for(place, tmp_path):
    """Its client is gone; whether it was one is known when it has ended."""
    log, _ = a_log(tmp_path, 5)
    turn(place, log)
    with psycopg.connect(place.url) as slow:
        (at,) = slow.execute('SELECT "offset" FROM forkpolicy.positions').fetchone()
        slow.execute('UPDATE forkpolicy.positions SET "offset" = "offset" - 1')
        store, seen = open_store(place), []
        file = log.read_bytes().partition(b"\n")[0].decode().partition('"file": "')[2][:12]
        asker = threading.Thread(target=lambda: seen.append(store.position(file)))
        asker.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'history'"
        with psycopg.connect(place.url, autocommit=True) as watcher:
            eventually(lambda: watcher.execute(waits).fetchone() == (1,))
        assert seen == []
        slow.commit()
        asker.join()
        store.close()
    assert seen == [at - 1]


def test_two_hosts_write_at_once(place, tmp_path):
    """Rules, hosts and days that both meet first at the same moment, the tables included; nobody waits in a circle."""
    logs = [a_log(tmp_path, 200, f"log{host}.json") for host in range(2)]
    children = []
    for path, _ in logs:
        child = os.fork()
        if not child:
            said = ["it raised"]
            try:
                turn(place, path, said.append)
                said.pop(0)
            finally:
                os._exit(len(said))
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert_all_once(place, {**logs[0][1], **logs[1][1]})


def test_what_a_stranger_chose_keeps_nobody_out(place, tmp_path):
    """What PostgreSQL's texts and indexes cannot have."""
    wild = "".join(chr(0x10000 + at * 37 % 50000) for at in range(700))
    log, code = tmp_path / "log.json", new_id()
    odd = [
        decision(
            sender=f"{wild}@example.org", recipient=f"x\0y{wild}", sasl_username=wild, queue_id=wild, instance=wild
        ),
        decision(rule=wild, action=f"{wild} no", code=wild),
        decision(client_address="fe80::1%eth0"),
        line_of("log lines lost", count=10**30, reason=wild + "\0"),
        line_of("in force", in_force=wild, host="mx1\0", policy="p\0", tables=wild, generation=1),
        decision(code="\0" * 20),
    ]
    log.write_bytes(begin() + b"".join(odd) + decision(code=code, sender="b@example.org"))
    turn(place, log)
    history = open_history(place)
    assert [each.id for each in history.find(query_of(["b@example.org"], NOON_S))] == [code]
    assert len(list(history.find(query_of([f"from:{wild}@example.org"], NOON_S)))) == 1
    assert len(list(history.find(query_of([f"id:{wild}"], NOON_S)))) == 1


def test_days_are_dropped_and_how_often_rules_fired_stays(place, tmp_path):
    """By whichever host comes first; a reader in the way holds up nobody for long, and the day goes later."""
    log = tmp_path / "log.json"
    log.write_bytes(begin() + b"".join(decision(NOON_S - day * DAY_S) for day in range(5)))
    turn(place, log)
    store = open_store(place)
    with psycopg.connect(place.url) as reader:
        reader.execute("SELECT * FROM forkpolicy.decisions")
        assert store.remove_old_days(2, NOON_S) == []
    assert store.remove_old_days(2, NOON_S) == ["2026-11-25", "2026-11-24"]
    assert store.remove_old_days(2, NOON_S) == []
    store.close()
    with psycopg.connect(place.url) as connection:
        names = [name for (name,) in connection.execute("SELECT relname FROM pg_class WHERE relname ~ '_2026112.$'")]
        assert sorted(names) == [f"{table}_202611{day}" for table in ("blocks", "decisions") for day in (26, 27, 28)]
        assert connection.execute("SELECT sum(decisions) FROM forkpolicy.rollups").fetchone() == (5,)
    assert len(list(open_history(place).find(query_of([], NOON_S)))) == 3


def test_a_second_ingester_of_the_same_log_says_so(place, tmp_path):
    """Neither doubles what the other has taken in."""
    log, lines = a_log(tmp_path, 3)
    first, second = (open_store(place) for _ in range(2))
    file = re.search(rb'"file": "(\w+)"', log.read_bytes())[1].decode()
    assert (first.position(file), second.position(file)) == (0, 0)
    turn(place, log)
    from forkpolicy.history.follow import log_files, whole_lines
    from forkpolicy.history.lines import read_line

    (found,) = log_files(str(log))
    some = [(offset, read_line(raw)) for offset, raw in whole_lines(found, 0)][:2]
    second.add(file, some)
    with pytest.raises(UnavailableError, match="is a second forkpolicy history ingest running"):
        second.commit()
    for store in (first, second):
        store.close()
    assert_all_once(place, lines)


def test_a_server_that_is_away_is_said_once(place, cluster, make_server):
    """The log waits on disk; readers get a message."""
    server = make_server("")
    text = server.settings.read_text()
    server.settings.write_text(f'{text}\n[history]\nlog = "history.json"\nurl = "{place.url}"\n')
    log = server.directory / "history.json"
    log.write_bytes(begin() + decision(sender="a@example.org"))
    cluster.crash()
    words = [sys.executable, "-m", "forkpolicy", "history", "ingest", "-c", str(server.settings)]
    ingester = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        assert "not taken in, tried again each second: postgresql://" in ingester.stderr.readline()
        found = server.command("history", "find", "a@example.org")
        assert found.returncode == 1
        assert re.fullmatch(r"postgresql://\S+: connection .*\n", found.stderr)
        cluster.start()
        eventually(lambda: server.command("history", "find", "a@example.org").returncode == 0)
        ingester.send_signal(signal.SIGTERM)
        # Another reason, such as that it is starting, is another message.
        more = ingester.communicate(timeout=10)[1].splitlines()
        assert len(set(more)) == len(more)
        assert all(line.startswith("not taken in") for line in more)
        assert ingester.returncode == 0
    finally:
        ingester.kill()
        ingester.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_server_without_room_loses_nothing(place, cluster, tmp_path):
    """It is said once, and what the log has is taken in when there is room."""
    folder = cluster.directory / "small"
    folder.mkdir()
    options = f"size=600k,mode=700,uid={cluster.directory.stat().st_uid},gid={cluster.directory.stat().st_gid}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        with psycopg.connect(place.url, autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
            connection.execute("ALTER DATABASE history SET default_tablespace = small")
        log, lines = a_log(tmp_path, 1500)
        with pytest.raises(UnavailableError, match="No space left on device"):
            turn(place, log)
        subprocess.run(["mount", "-o", "remount,size=100m", folder], check=True)
        turn(place, log)
        assert_all_once(place, lines)
    finally:
        with psycopg.connect(place.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS forkpolicy CASCADE")
            connection.execute("ALTER DATABASE history RESET default_tablespace")
            connection.execute("DROP TABLESPACE IF EXISTS small")
        subprocess.run(["umount", folder], check=True)


WRITER, READER, PASSWORD = "fp_writer", "fp_reader", "s3 cret@/"


@pytest.fixture
def with_passwords(cluster):
    """What docs/several-hosts.md says to do, in a database of its own; the URL of a user of it."""
    text = (ROOT / "docs" / "several-hosts.md").read_text()
    script = re.search(r"```sql\n(.*?)```", text, re.DOTALL)[1].replace("'PASSWORD'", f"'{PASSWORD}'")
    hba = cluster.directory / "data" / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"local forkpolicy {WRITER},{READER} scram-sha-256\n{before}")
    cluster.make("anything", f"{script}\nSELECT pg_reload_conf();")
    yield lambda user, password="": f"postgresql://{user}{password}@/forkpolicy?host={cluster.directory}"
    hba.write_text(before)


def test_the_roles_of_the_manual(with_passwords, tmp_path, make_server):
    """One writes, one reads and can do nothing else; the password is in a file and in no message."""
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    secret.chmod(0o600)
    server = make_server("")
    text = server.settings.read_text()

    def settings_of(user, file=secret):
        place = f'url = "{with_passwords(user)}"\npassword_file = "{file}"\n'
        server.settings.write_text(f'{text}\n[history]\nlog = "history.json"\n{place}')

    (server.directory / "history.json").write_bytes(begin() + decision(sender="a@example.org"))
    settings_of(READER)
    assert "there is no history (forkpolicy history ingest makes it)" in server.command("history", "find", "<>").stderr
    assert "may not make tables" in server.command("check").stdout
    refused = server.command("history", "ingest", "--once")
    assert "read-only" in refused.stderr or "permission denied" in refused.stderr
    settings_of(WRITER)
    assert "postgresql" not in server.command("check").stdout
    assert server.command("history", "ingest", "--once").stderr == ""
    settings_of(READER)
    assert server.command("history", "find", "a@example.org").returncode == 0
    with psycopg.connect(with_passwords(READER), password=PASSWORD, autocommit=True) as reader:
        reader.execute("SET default_transaction_read_only = off")
        for statement in ("DELETE FROM forkpolicy.decisions", "DROP TABLE forkpolicy.meta", "CREATE TABLE public.x ()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)
    secret.write_text("wrong s3cret\n")
    for said in (server.command("check").stdout, server.command("history", "find", "<>").stderr):
        assert "password authentication failed" in said
        assert "s3" not in said
        assert "Traceback" not in said


def test_a_history_of_another_version_is_left_alone(place, tmp_path):
    """By who writes and by who reads."""
    log, _ = a_log(tmp_path, 3)
    turn(place, log)
    with psycopg.connect(place.url) as connection:
        connection.execute("UPDATE forkpolicy.meta SET version = 99")
    with pytest.raises(UnavailableError, match="is of version 99, and this program knows version 1"):
        turn(place, log)
    with pytest.raises(HistoryError, match="is of version 99"):
        list(open_history(place).find(query_of([], NOON_S)))


def test_a_database_that_cannot_have_every_text(cluster):
    """It says which encoding is expected."""
    cluster.make("maker", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(UnavailableError, match="the encoding of the database is LATIN1: expected UTF8"):
        open_store(HistorySettings(url=cluster.url("latin"))).position("a")


def test_rollups_of_all_hosts_are_summed(place, tmp_path):
    """What fired on a day, by slot, rule and verb; how far each log was taken in."""
    for number in range(2):
        log = tmp_path / f"{number}.json"
        log.write_bytes(begin() + decision(NOON_S) + decision(NOON_S + 600, action="DEFER later"))
        turn(place, log)
    rollups = open_rollups(place)
    slot = slot_of(NOON_S)
    assert sorted(rollups.fired("2026-11-28")) == [
        Fired(slot, "policy.conf:7", "REJECT", 2, "from_us"),
        Fired(slot + 1, "policy.conf:7", "DEFER", 2, "from_us"),
    ]
    assert rollups.fired("2026-11-27") == []
    assert rollups.taken() == {log.stat().st_size}
    assert rollups.stamp("2026-11-28") is not None
