"""What reached the log is taken in once, whatever the lines are and whichever process is killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.ingest import SETTLED_S, Ingester
from forkpolicy.history.query import query_of
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from tests.history_logs import NOON_S, begin, decision, line_of, new_id

DAY_S = 86400
# Writes a byte at each step: an SQL statement, a write of lines, a commit.
INGEST = """
import os, sys
from forkpolicy.history import day, ingest, raw_lines, store
ingest.LINES_A_COMMIT = ingest.LINES_AT_ONCE = 7

def step(act):
    def stepped(*arguments):
        os.write(1, b".")
        return act(*arguments)
    return stepped

store.Store._add, store.Store.commit = step(store.Store._add), step(store.Store.commit)
day.Day.flush, raw_lines.RawWriter.flush = step(day.Day.flush), step(raw_lines.RawWriter.flush)
raw_lines.RawWriter._write_block = step(raw_lines.RawWriter._write_block)
ingest.Ingester(sys.argv[1], store.Store(sys.argv[2]), 3650, print).turn()
os.write(1, b"!")
"""


class Taken:
    """An ingester whose clock stands still until a test moves it."""

    def __init__(self, folder, keep_days=3650):
        self.now_s, self.said = NOON_S, []
        self.log, self.directory = folder / "log.json", folder / "history"
        self.ingester = Ingester(
            str(self.log), Store(str(self.directory)), keep_days, self.said.append, lambda: self.now_s
        )

    def ids(self):
        """Of all decisions, the oldest first."""
        every = History(str(self.directory)).find(query_of([], NOON_S))
        return [each.id for each in every][::-1]


@pytest.fixture
def taken(tmp_path):
    made = Taken(tmp_path)
    yield made
    made.ingester.close()


def test_only_whole_lines_are_taken_and_each_once(taken):
    """A line that is still on its way waits for its end."""
    codes = [new_id() for _ in range(3)]
    first, second, third = (decision(code=code) for code in codes)
    taken.log.write_bytes(begin() + first + second[:50])
    taken.ingester.turn()
    assert taken.ids() == codes[:1]
    with taken.log.open("ab") as log:
        log.write(second[50:] + third)
    for _ in range(3):
        taken.ingester.turn()
    assert taken.ids() == codes


def test_odd_lines_are_counted_and_lose_no_other(taken):
    """Half a line, another program's, no UTF-8, numbers where texts belong."""
    codes = [new_id() for _ in range(2)]
    odd = [
        b'{"time":"2026-11-28T12\n',
        b"hello\n",
        b"[]\n",
        b"\xff\xfe\n",
        b"{}\n",
        b'{"event":"decision"}\n',
        decision().replace(b'"request": {', b'"request": 7, "x": {'),
        decision().replace(b"2026-11-28T", b"26-1-2T"),
        b"[" * 100_000 + b"\n",
        decision(code="\ud800"),
        decision(sender="\ud800@example.org"),
        decision(sender="@example.org").replace(b'"@', b'"\xed\xa0\x80@'),
        line_of("in force", in_force="\udfff", host="mx1", policy="p", tables="-"),
    ]
    taken.log.write_bytes(begin() + decision(code=codes[0]) + b"".join(odd) + decision(code=codes[1]))
    taken.ingester.turn()
    assert taken.ids() == codes
    assert taken.ingester.odd == len(odd)
    with closing(sqlite3.connect(taken.directory / "ingest.sqlite")) as positions:
        assert positions.execute("SELECT count(*) FROM odd").fetchone() == (len(odd),)


def test_a_renamed_file_is_read_to_its_end_and_then_removed(taken):
    """Whoever renamed it. One that somebody may still write to stays for a minute."""
    codes = [new_id() for _ in range(3)]
    taken.log.write_bytes(begin() + decision(code=codes[0]))
    taken.ingester.turn()
    rotated = taken.log.with_name("log.json.1")
    taken.log.rename(rotated)
    taken.log.write_bytes(begin() + decision(NOON_S + 2, code=codes[2]))
    with rotated.open("ab") as log:
        log.write(decision(NOON_S + 1, code=codes[1]))
    os.utime(rotated, (NOON_S, NOON_S))
    taken.ingester.turn()
    assert taken.ids() == codes
    assert rotated.exists()
    taken.now_s += SETTLED_S
    taken.ingester.turn()
    assert not rotated.exists()
    assert taken.log.exists()
    assert taken.ids() == codes


def test_a_copy_of_the_log_doubles_nothing(taken):
    """Somebody saves it next to it; it is known even after its original is gone."""
    codes = [new_id() for _ in range(2)]
    taken.log.write_bytes(begin() + decision(code=codes[0]))
    taken.ingester.turn()
    copy, rotated = taken.log.with_name("log.json.saved"), taken.log.with_name("log.json.1")
    for path in (copy, rotated):
        path.write_bytes(taken.log.read_bytes())
        os.utime(path, (NOON_S - SETTLED_S, NOON_S - SETTLED_S))
        taken.ingester.turn()
        taken.ingester.turn()
    with taken.log.open("ab") as log:
        log.write(decision(code=codes[1]))
    taken.ingester.turn()
    assert taken.ids() == codes


def test_a_file_stays_until_the_server_has_begun_another(taken):
    """Where it cannot, it goes on writing to the one that was renamed."""
    rotated = taken.log.with_name("log.json.1")
    rotated.write_bytes(begin() + decision())
    taken.now_s = rotated.stat().st_mtime + 2 * SETTLED_S
    taken.ingester.turn()
    assert rotated.exists()
    taken.log.write_bytes(begin())
    taken.ingester.turn()
    assert not rotated.exists()


def test_the_file_at_the_path_stays_however_it_is_spelled(tmp_path):
    """Two slashes are one."""
    log = tmp_path / "log.json"
    log.write_bytes(begin() + decision())
    later_s = log.stat().st_mtime + 2 * SETTLED_S
    ingester = Ingester(f"{tmp_path}//log.json", Store(str(tmp_path / "history")), 3650, print, lambda: later_s)
    ingester.turn()
    ingester.close()
    assert log.exists()


@pytest.mark.parametrize("begins", [b"", b"SQLite format 3\0" + bytes(4096), b"no day at all" * 100])
def test_a_damaged_day_goes_with_the_others(tmp_path, begins):
    """Empty where its writer was killed or had no room; nothing keeps those behind it from going."""
    taken = Taken(tmp_path, keep_days=2)
    (taken.directory / "2026-11-20.sqlite").write_bytes(begins)
    (taken.directory / "2026-11-21.sqlite").write_bytes(b"")
    taken.log.write_bytes(begin() + decision())
    taken.ingester.turn()
    taken.ingester.close()
    assert sorted(each.name for each in taken.directory.glob("2026-*")) == ["2026-11-28.lines", "2026-11-28.sqlite"]


def test_a_day_that_is_being_made_hides_no_other(taken):
    """It is empty until its first commit."""
    code = new_id()
    taken.log.write_bytes(begin() + decision(code=code))
    taken.ingester.turn()
    (taken.directory / "2026-11-29.sqlite").write_bytes(b"")
    assert taken.ids() == [code]


KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE recent SET id = 'x'")
os.kill(os.getpid(), 9)
"""


def test_a_day_whose_writer_was_killed_is_mended_by_the_next(tmp_path):
    """Also a day that gets nothing more. Until then a reader gets a message that says so."""
    taken = Taken(tmp_path)
    codes = [new_id() for _ in range(2000)]
    taken.log.write_bytes(begin() + b"".join(decision(code=code) for code in codes))
    taken.ingester.turn()
    taken.ingester.close()
    subprocess.run([sys.executable, "-c", KILLED, taken.directory / "2026-11-28.sqlite"], check=False)
    with pytest.raises(HistoryError, match="killed while it wrote: start forkpolicy history ingest"):
        taken.ids()
    Ingester(str(taken.log), Store(str(taken.directory)), 3650, print, lambda: NOON_S).close()
    assert taken.ids() == codes


def test_a_day_that_cannot_be_written_is_named(taken):
    """It has to be moved away by somebody."""
    (taken.directory / "2026-11-28.sqlite").write_bytes(b"no day at all" * 100)
    taken.log.write_bytes(begin() + decision())
    with pytest.raises(sqlite3.Error, match=r"2026-11-28[.]sqlite: file is not a database"):
        taken.ingester.turn()


def test_what_is_read_slowly_keeps_nobody_from_writing(taken):
    """A pager holds `find` at its first lines for hours."""
    codes = [new_id() for _ in range(1000)]
    taken.log.write_bytes(begin() + b"".join(decision(NOON_S, code=code) for code in codes))
    taken.ingester.turn()
    found = History(str(taken.directory)).find(query_of([], NOON_S))
    seen = [next(found).id]
    with taken.log.open("ab") as log:
        log.write(decision())
    taken.ingester.turn()
    seen += [each.id for each in found]
    assert seen == codes[::-1]


def test_a_file_that_does_not_name_itself_is_left_alone(taken):
    """It may be anybody's; that is said once."""
    taken.log.write_bytes(decision())
    for _ in range(3):
        taken.ingester.turn()
    assert taken.said == [f"{taken.log} is left alone: its first line does not name it; did another program write it?"]


def test_days_are_removed_and_how_often_rules_fired_stays(tmp_path):
    """With their lines; a roll-up has no address."""
    taken = Taken(tmp_path, keep_days=2)
    lines = [decision(NOON_S - day * DAY_S) for day in range(5)]
    taken.log.write_bytes(begin() + b"".join(lines))
    taken.ingester.turn()
    taken.ingester.close()
    days = sorted(each.name for each in taken.directory.glob("2026-*"))
    assert days == [f"2026-11-{day}.{kind}" for day in (26, 27, 28) for kind in ("lines", "sqlite")]
    with closing(sqlite3.connect(taken.directory / "rollups.sqlite")) as rollups:
        rows = rollups.execute("SELECT line, verb, acls, decisions FROM rollups").fetchall()
    assert rows == [("policy.conf:7", "REJECT", "from_us", 1)] * 2


def test_clocks_that_jump_lose_nothing(taken):
    """A hundred days in one file, in no order."""
    codes = {new_id(): NOON_S + day * DAY_S for day in random.Random(1).sample(range(-50, 50), 100)}
    taken.log.write_bytes(begin() + b"".join(decision(at_s, code=code) for code, at_s in codes.items()))
    taken.ingester.turn()
    assert sorted(taken.ids()) == sorted(codes)


def test_more_than_a_number_can_count_is_kept_as_much(taken):
    """A broken line must not keep the others out."""
    taken.log.write_bytes(begin() + line_of("log lines lost", count=10**30) + decision())
    taken.ingester.turn()
    assert len(taken.ids()) == 1


def test_gaps_and_versions_are_kept(taken):
    """What the log says of itself."""
    force = {"in_force": "k2xg0y7q", "host": "mx1", "generation": 1, "policy": "p", "tables": "a@1,b@2"}
    taken.log.write_bytes(begin() + line_of("in force", **force) * 2 + line_of("log lines lost", count=3))
    taken.ingester.turn()
    with closing(sqlite3.connect(taken.directory / "2026-11-28.sqlite")) as day:
        assert day.execute("SELECT in_force, host, policy, tables FROM versions").fetchall() == [
            ("k2xg0y7q", "mx1", "p", "a@1,b@2")
        ]
        assert day.execute("SELECT decisions FROM gaps").fetchall() == [(3,)]


def test_a_kill_at_any_moment_loses_and_doubles_nothing(tmp_path):
    """Three hundred decisions around midnight, an ingester that commits every seven and is killed again and again."""
    midnight_s = NOON_S + DAY_S / 2
    lines = {new_id(): midnight_s + (number - 150) / 3 for number in range(300)}
    log, directory = tmp_path / "log.json", tmp_path / "history"
    log.write_bytes(begin() + b"".join(decision(at_s, code=code) for code, at_s in lines.items()))
    at_random, kills, said = random.Random(7), 0, b""
    while not said.endswith(b"!"):
        process = subprocess.Popen([sys.executable, "-c", INGEST, str(log), str(directory)], stdout=subprocess.PIPE)
        said = process.stdout.read(at_random.randrange(5, 60))
        if not said.endswith(b"!"):
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    history = History(str(directory))
    found = list(history.find(query_of([], NOON_S)))
    assert sorted(each.id for each in found) == sorted(lines)
    assert kills > 3
    for each in found:
        assert history.raw(each) + b"\n" == decision(lines[each.id], code=each.id)
