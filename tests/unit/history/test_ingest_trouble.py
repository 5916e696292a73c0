"""An ingester among damaged files, lines without an end, wrong clocks and orders to stop."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from forkpolicy.history import ingest
from forkpolicy.history.follow import whole_lines
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.query import query_of
from forkpolicy.history.raw_lines import count_lines
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from tests.history_logs import NOON_S, begin, decision, new_id

DAY_S = 86400
MEGABYTE = 1 << 20


@pytest.fixture
def made(tmp_path):
    """An ingester whose clock stands still, and what it said; closed at the end."""
    said = []
    ingester = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 30, said.append, lambda: NOON_S)
    ingester.said, ingester.log, ingester.directory = said, tmp_path / "log.json", tmp_path / "history"
    yield ingester
    ingester.close()


def ids(directory, now_s=NOON_S):
    """Of all decisions, as `find` has them."""
    return [each.id for each in History(str(directory), lambda: now_s).find(query_of([], now_s))]


def gaps(directory):
    """As `find` names them."""
    return History(str(directory), lambda: NOON_S).gaps(query_of([], NOON_S))


def test_a_line_without_an_end_is_one_odd_line(made, monkeypatch):
    """It is read once, whenever its rest comes; those in front of it and behind it are found."""
    codes = [new_id() for _ in range(2)]
    made.log.write_bytes(begin() + decision(code=codes[1]) + b"x" * (5 * MEGABYTE))
    made.turn()
    read = []

    def seen(*given):
        for piece in whole_lines(*given):
            read.append(piece)
            yield piece

    monkeypatch.setattr(ingest, "whole_lines", seen)
    made.turn()
    assert read == []
    with made.log.open("ab") as log:
        log.write(b"y" * (3 * MEGABYTE) + b"\n" + decision(code=codes[0]))
    made.turn()
    made.turn()
    assert ids(made.directory) == codes
    assert made.odd == 1
    with closing(sqlite3.connect(made.directory / "ingest.sqlite")) as positions:
        assert positions.execute("SELECT reason FROM odd").fetchall() == [("longer than 65536 bytes",)]


READ = """
import resource, sys
from forkpolicy.history.follow import log_files, whole_lines
(file,) = log_files(sys.argv[1])
for _ in whole_lines(file, 0): pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_a_line(tmp_path):
    """Of half a gigabyte without an end, on a sparse file; an ingester that kept it would need twice of that."""
    used_kib = []
    for size in (1, 512 * MEGABYTE):
        log = tmp_path / "log.json"
        log.write_bytes(begin())
        os.truncate(log, log.stat().st_size + size)
        done = subprocess.run([sys.executable, "-c", READ, log], capture_output=True, check=True)
        used_kib.append(int(done.stdout))
    assert used_kib[1] - used_kib[0] < 16 * 1024


def test_a_file_without_a_line_is_named(made):
    """Its first line never ends: it is another program's, and that is said."""
    made.log.write_bytes(b"x" * 5000)
    made.turn()
    assert len(made.said) == 1
    assert "is left alone" in made.said[0]


def take(log, directory, stopping=lambda _wait_s: False):
    """An ingester's whole life; what it said."""
    said = []
    Ingester(str(log), Store(str(directory)), 30, said.append, lambda: NOON_S).run_once(stopping)
    return said


def test_a_stop_ends_a_long_turn_at_a_commit(tmp_path, monkeypatch):
    """What was taken in stays, the rest is taken in by the next."""
    monkeypatch.setattr(ingest, "LINES_AT_ONCE", 10)
    codes = [new_id() for _ in range(100)]
    log, directory = tmp_path / "log.json", tmp_path / "history"
    log.write_bytes(begin() + b"".join(decision(code=code) for code in codes))
    looks = iter([False, False, True])
    take(log, directory, lambda _wait_s: next(looks, True))
    assert ids(directory) == codes[28::-1]
    take(log, directory)
    assert ids(directory) == codes[::-1]


def damage_deep(path):
    """Pages behind the first one, so that the file opens as usual."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def of_another_version(path):
    with closing(sqlite3.connect(path)) as day:
        day.execute("UPDATE meta SET version = 1")
        day.commit()


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(b"no day at all" * 100), damage_deep, of_another_version]
)
def test_a_damaged_day_is_set_aside_and_stops_nothing(tmp_path, damage):
    """It begins again; what is missing with it is counted once, and a day of another date is as it was."""
    log, directory = tmp_path / "log.json", tmp_path / "history"
    before, yesterday, after = new_id(), new_id(), new_id()
    log.write_bytes(begin() + decision(NOON_S - DAY_S, code=yesterday) + decision(code=before) * 3)
    take(log, directory)
    damage(directory / "2026-11-28.sqlite")
    with log.open("ab") as file:
        file.write(decision(code=after))
    said = take(log, directory)
    aside = directory / f"2026-11-28.damaged-{int(NOON_S)}.sqlite"
    assert said[-1] == f"{directory}/2026-11-28.sqlite is damaged or of another version: it was set aside as {aside}"
    assert ids(directory) == [after, yesterday]
    reason = f"the file of the day was damaged or of another version, and was set aside as {aside.name}"
    missing = (int(NOON_S - DAY_S / 2) * 1000, 3, reason)
    assert gaps(directory) == [missing]
    # Nobody knows which part of the day it had.
    history = History(str(directory), lambda: NOON_S)
    assert history.gaps(query_of(["since:1h"], NOON_S)) == [missing]
    assert history.gaps(query_of(["until:2026-11-27"], NOON_S)) == []
    assert aside.exists()
    assert aside.with_suffix(".lines").exists()
    assert take(log, directory) == []
    assert gaps(directory) == [missing]


def test_a_damaged_day_goes_with_those_of_its_age(made):
    """Nobody needs it longer than the others."""
    for name in ("2026-10-01.damaged-7.sqlite", "2026-10-01.damaged-7.lines", "2026-11-20.damaged-7.lines"):
        (made.directory / name).write_bytes(b"")
    made.turn()
    assert [each.name for each in made.directory.glob("*.damaged-*")] == ["2026-11-20.damaged-7.lines"]


def test_days_of_a_wrong_clock_come_last_and_go(tmp_path):
    """They are found, after those of today, and are removed when as many days have gone since they were written."""
    future, today, now_s = new_id(), new_id(), [NOON_S]
    log, directory = tmp_path / "log.json", tmp_path / "history"
    log.write_bytes(begin() + decision(NOON_S + 10_000 * DAY_S, code=future) + decision(code=today))
    ingester = Ingester(str(log), Store(str(directory)), 30, print, lambda: now_s[0])
    ingester.turn()
    (day,) = directory.glob("20[3-9]*.sqlite")
    # As the file system has it where the whole machine had that clock.
    os.utime(day, (NOON_S + 10_000 * DAY_S,) * 2)
    assert ids(directory) == [today, future]
    for days, found in ((20, [today, future]), (60, [])):
        now_s[0] = NOON_S + days * DAY_S
        ingester.turn()
        assert ids(directory, now_s[0]) == found
    ingester.close()


def test_nothing_is_taken_in_while_another_changes_the_days(made):
    """And it goes on by itself when the other has finished."""
    code = new_id()
    made.log.write_bytes(begin() + decision(code=code))
    with (made.directory / "days.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.turn()
        assert ids(made.directory) == []
    made.turn()
    assert ids(made.directory) == [code]


def test_what_an_odd_line_says_is_not_kept(made):
    """Its value may be somebody's address."""
    made.log.write_bytes(begin() + decision().replace(b'"time": "2026', b'"time": "anna@example.com'))
    made.turn()
    with closing(sqlite3.connect(made.directory / "ingest.sqlite")) as positions:
        assert "anna" not in str(positions.execute("SELECT * FROM odd").fetchall())
    assert "anna" not in str(made.said)


# Kills itself at its n-th step: a file is renamed, a gap is kept, a day is opened.
ASIDE = """
import os, signal, sys
from pathlib import Path
from forkpolicy.history import damaged, day, store
from forkpolicy.history.ingest import Ingester
left = int(sys.argv[3])

def step(act):
    def stepped(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments, **options)
    return stepped

Path.rename, store.gap_of = step(Path.rename), step(store.gap_of)
day.Day.note, day.Day._create, day.Day.flush = step(day.Day.note), step(day.Day._create), step(day.Day.flush)
store.Store.commit, store.Store.begin = step(store.Store.commit), step(store.Store.begin)
clock = lambda: float(sys.argv[4])
Ingester(sys.argv[1], store.Store(sys.argv[2]), 30, print, clock).run_once(lambda _wait_s: False)
"""


def test_a_kill_while_a_day_is_set_aside_loses_and_counts_nothing_twice(tmp_path):
    """Its lines stay readable, what came since is found once, and the gap is there once."""
    log, directory = tmp_path / "log.json", tmp_path / "history"
    codes = [new_id() for _ in range(5)]
    log.write_bytes(begin() + b"".join(decision() for _ in range(3)))
    take(log, directory)
    (directory / "2026-11-28.sqlite").write_bytes(b"no day at all" * 100)
    with log.open("ab") as file:
        file.writelines(decision(code=code) for code in codes)
    for steps in range(1, 60):
        words = [sys.executable, "-c", ASIDE, log, directory, str(steps), str(NOON_S + steps)]
        if subprocess.run(words, check=False, stdout=subprocess.DEVNULL).returncode == 0:
            break
    assert steps > 5
    assert ids(directory) == codes[::-1]
    assert [decisions for _, decisions, _ in gaps(directory)] == [3]
    assert sum(count_lines(str(each)) for each in directory.glob("*.damaged-*.lines")) == 3
