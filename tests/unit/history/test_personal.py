"""A person is forgotten in every copy, others are found as before, whichever process is killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from contextlib import closing

import pytest

from forkpolicy.commands.history.personal import export_person
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.personal.forgetting import forget
from forkpolicy.history.personal.person import Person
from forkpolicy.history.personal.versions import versions_naming
from forkpolicy.history.query import query_of
from forkpolicy.history.raw_lines import blocks
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from forkpolicy.history_settings import HistorySettings
from tests.history_logs import NOON_S, begin, decision, new_id

DAY_S = 86400
ANNA = "Anna@Example.com"


class Site:
    """A log and its history: three days, in which every fifth decision is about anna."""

    def __init__(self, folder):
        self.log, self.directory = folder / "log.json", folder / "history"
        self.annas, self.others, lines = [], {}, [begin()]
        for number in range(900):
            at_s = NOON_S - (2 - number // 300) * DAY_S + number
            code = new_id()
            if number % 5:
                line = decision(
                    at_s, code=code, sender=f"s{number % 37}@example.org", recipient=f"r{number % 41}@example.net"
                )
                self.others[code] = line
            else:
                self.annas.append(code)
                name = ("sender", "recipient", "sasl_username")[number % 3]
                names = {name: ANNA if number % 2 else ANNA.lower()}
                line = decision(at_s, code=code, client_address="192.0.2.9", **names)
            lines.append(line)
        self.log.write_bytes(b"".join(lines))

    def ingester(self):
        """One that is open."""
        return Ingester(str(self.log), Store(str(self.directory)), 3650, print, lambda: NOON_S)

    def take_in(self):
        """All of the log."""
        self.ingester().run_once(lambda _wait_s: False)

    def forget(self, text=ANNA):
        """A person."""
        return forget(HistorySettings(log=str(self.log), path=str(self.directory)), Person(text), NOON_S)

    def found(self):
        """Every decision with its line."""
        history = History(str(self.directory), lambda: NOON_S)
        return {each.id: history.raw(each) + b"\n" for each in history.find(query_of([], NOON_S))}

    def everywhere(self):
        """What stands in all files, compressed lines as they are read and as they are."""
        texts = [path.read_bytes() for path in (*self.directory.iterdir(), self.log)]
        for path in self.directory.glob("*.lines"):
            texts += [b"\n".join(lines) for _, lines in blocks(str(path)) if lines]
        return b"\n".join(texts).lower()


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_nothing_of_a_person_is_left_and_others_are_found(site):
    """In no file, however it is looked at; and a second time there is nothing to do."""
    site.take_in()
    assert b"anna@example.com" in site.everywhere()
    assert site.forget() == (len(site.annas), 0)
    assert b"anna@example.com" not in site.everywhere()
    assert b"\x04\xc0\x00\x02\x09" not in site.everywhere()
    assert site.found() == site.others
    assert site.forget() == (0, 0)
    assert site.found() == site.others


def test_a_domain_is_forgotten(site):
    """Every address of it, and its name."""
    site.take_in()
    assert site.forget("@EXAMPLE.net").decisions > 500
    assert b"@example.net" not in site.everywhere()
    history = History(str(site.directory), lambda: NOON_S)
    assert list(history.find(query_of(["@example.net"], NOON_S))) == []
    assert len(list(history.find(query_of(["login:anna@example.com"], NOON_S)))) > 0


def test_a_part_of_an_address_is_another_one(site):
    """Neither one that ends so, nor one of a longer domain."""
    with site.log.open("ab") as log:
        for address in ("joanna@example.com", "anna@example.com.example", "x.anna@example.com", "anna@sub.example.com"):
            log.write(decision(sender=address, code="0000" + f"{abs(hash(address))}"[:8]))
    site.take_in()
    before = len(site.found())
    site.forget()
    assert len(site.found()) == before - len(site.annas)


def test_the_address_is_blotted_out_where_others_have_it(site):
    """Their decisions stay, and their lines are JSON."""
    code = new_id()
    with site.log.open("ab") as log:
        log.write(decision(code=code, sender="c@example.org", action="REJECT ask anna@example.com about it"))
    site.take_in()
    assert site.forget() == (len(site.annas), 1)
    line = json.loads(site.found()[code])
    assert line["action"] == "REJECT ask **************** about it"
    assert b"anna@example.com" not in site.everywhere()


def test_what_was_not_taken_in_is_forgotten_in_the_log(site):
    """Nothing moves there: the server appends, and an ingester reads on."""
    site.directory.mkdir()
    size = site.log.stat().st_size
    with site.log.open("ab") as log:
        log.write(b'{"torn":"anna@example.com')
    assert site.forget() == (len(site.annas), 1)
    assert b"anna@example.com" not in site.everywhere()
    assert site.log.stat().st_size == size + 25
    with site.log.open("ab") as log:
        log.write(b"\n")
    ingester = site.ingester()
    ingester.turn()
    ingester.close()
    assert site.found() == site.others
    assert ingester.odd == 1


def test_an_ingester_goes_on_over_it(site):
    """It has the days open and remembers numbers of names; a new decision of the same person is found again."""
    ingester = site.ingester()
    ingester.turn()
    site.forget()
    codes = [new_id() for _ in range(2)]
    lines = [decision(code=codes[0], sender=ANNA), decision(code=codes[1], sender="s1@example.org")]
    with site.log.open("ab") as log:
        log.writelines(lines)
    ingester.turn()
    ingester.close()
    assert site.found() == {**site.others, **dict(zip(codes, lines, strict=True))}
    history = History(str(site.directory), lambda: NOON_S)
    assert [each.id for each in history.find(query_of([f"from:{ANNA}"], NOON_S))] == codes[:1]


def test_who_reads_meanwhile_reads_on(site):
    """A decision found before is read where it is afterwards; one that was forgotten is said to be."""
    site.take_in()
    history = History(str(site.directory), lambda: NOON_S)
    found = list(history.find(query_of([], NOON_S)))
    site.forget()
    lines = {}
    for each in found:
        try:
            lines[each.id] = history.raw(each) + b"\n"
        except Exception as error:  # noqa: BLE001 - whatever it is, its words count
            assert "cannot be read" in str(error) and each.id in site.annas  # noqa: PT017, PT018
    assert {code: line for code, line in lines.items() if code in site.others} == site.others


@pytest.mark.skipif(os.geteuid() != 0, reason="root can give files away")
def test_files_stay_the_owners(site):
    """Root does it, and the ingester of another user goes on."""
    site.take_in()
    for path in (site.directory, *site.directory.iterdir()):
        os.chown(path, 1234, 1235)
    site.forget()
    for path in site.directory.iterdir():
        assert (path.name, path.stat().st_uid, path.stat().st_gid) == (path.name, 1234, 1235)
        assert path.stat().st_mode & 0o777 in (0o640, 0o644)


# Kills itself at its n-th step.
FORGET = """
import os, signal, sys
from pathlib import Path
from forkpolicy.history.personal import days, forgetting, log_files
from forkpolicy.history.personal.person import Person
from forkpolicy.history_settings import HistorySettings
left = int(sys.argv[3])

def step(act):
    def stepped(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments, **options)
    return stepped

os.pwrite, os.fsync, os.ftruncate = step(os.pwrite), step(os.fsync), step(os.ftruncate)
Path.replace, Path.unlink = step(Path.replace), step(Path.unlink)
days._copy, days._take_its_place = step(days._copy), step(days._take_its_place)
days.overwrite_block, days.finish_erasures = step(days.overwrite_block), step(days.finish_erasures)
settings = HistorySettings(log=sys.argv[1], path=sys.argv[2])
forgetting.forget(settings, Person("@example.com"), float(sys.argv[4]))
"""


def test_a_kill_at_any_step_leaves_before_or_after(tmp_path):
    """For each day; others are whole all the time, and the next ingester finishes what was begun."""
    site = Site(tmp_path)
    lines = site.log.read_bytes()
    site.take_in()
    site.log.write_bytes(begin())
    del lines
    kept, kills = set(site.annas), 0
    for steps in range(1, 120):
        words = [sys.executable, "-c", FORGET, site.log, site.directory, str(steps), str(NOON_S)]
        done = subprocess.run(words, check=False)
        found = site.found()
        assert {code: line for code, line in found.items() if code in site.others} == site.others
        for day in range(3):
            annas = set(site.annas[day * 60 : day * 60 + 60])
            assert annas & found.keys() in (annas & kept, set())
        kept &= found.keys()
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        kills += 1
        if steps % 3 == 0:
            site.ingester().close()
    assert kills > 10
    assert site.found() == site.others
    assert b"anna@" not in site.everywhere()
    assert not list(site.directory.glob("*.new"))


def test_what_was_left_to_overwrite_is_by_the_next_ingester(tmp_path):
    """Killed behind the rename, old blocks are still there."""
    site = Site(tmp_path)
    site.take_in()
    site.log.write_bytes(begin())
    for steps in range(1, 120):
        words = [sys.executable, "-c", FORGET, site.log, site.directory, str(steps), str(NOON_S)]
        assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
        pending = [path for path in site.directory.glob("*.sqlite") if has_erasures(path)]
        if pending:
            break
    assert pending
    site.ingester().close()
    assert not [path for path in site.directory.glob("*.sqlite") if has_erasures(path)]
    day = pending[0].with_suffix(".lines")
    assert not any(b"anna@" in b"\n".join(lines).lower() for _, lines in blocks(str(day)) if lines)


def has_erasures(path):
    """Whether a day knows of blocks that are to be overwritten."""
    with closing(sqlite3.connect(path)) as day:
        return day.execute("SELECT 1 FROM sqlite_master WHERE name = 'erasures'").fetchone() is not None


@pytest.mark.parametrize("text", ["anna", "", "@", "a b@example.com", "anna@"])
def test_what_is_not_an_address_is_refused(text):
    """Before anything is looked at."""
    with pytest.raises(ValueError, match="is not a whole address"):
        Person(text)


def test_versions_that_name_a_person_are_listed(tmp_path):
    """However far behind in them; damaged ones, too, since nobody knows."""
    folder = tmp_path / "versions"
    folder.mkdir()
    far = b"x" * (3 << 20)
    for name, text in {
        "1-1.policy": b'{"acl x sender anna@example.com"}',
        "2-2.policy": b'{"acl x sender joe@example.com"}',
        "a@1.table": far + b"\x06Anna@example.com\x00" + far,
        "b@1.table": far,
    }.items():
        (folder / name).write_bytes(zlib.compress(text, 1))
    (folder / "c@1.table").write_bytes(b"no table")
    found = [path.name for path in versions_naming(str(tmp_path), Person("anna@example.com"))]
    assert found == ["1-1.policy", "a@1.table", "c@1.table"]
    assert len(list(versions_naming(str(tmp_path), Person("@example.com")))) == 4
    assert list(versions_naming(str(tmp_path / "none"), Person("@example.com"))) == []


def test_a_person_in_every_block_of_a_long_day_is_forgotten_soon(tmp_path):
    """Each line that moves to another place is looked up, where going through all of them took minutes."""
    log = tmp_path / "log.json"
    senders = (ANNA if number % 3 == 0 else f"s{number}@example.org" for number in range(20_000))
    log.write_bytes(begin() + b"".join(decision(NOON_S + n / 10, sender=each) for n, each in enumerate(senders)))
    ingester = Ingester(str(log), Store(str(tmp_path / "history")), 3650, print, lambda: NOON_S)
    ingester.run_once(lambda _wait_s: False)
    began_s = time.process_time()
    gone = forget(HistorySettings(log="", path=str(tmp_path / "history")), Person(ANNA), NOON_S)
    assert gone.decisions == 6667
    assert time.process_time() - began_s < 5
    assert sum(1 for _ in History(str(tmp_path / "history")).find(query_of([], NOON_S))) == 13_333


def test_a_damaged_block_of_lines_stops_nothing(tmp_path, capsys):
    """What can be read is found and exported, the rest is counted; the person's decisions go, and so does the block."""
    site = Site(tmp_path)
    site.take_in()
    path = site.directory / "2026-11-28.lines"
    places = [place for place, _ in blocks(str(path))]
    damaged = places[len(places) // 2]
    with path.open("r+b") as lines:
        lines.seek(damaged + 20)
        lines.write(b"garbage")
    settings = HistorySettings(log="", path=str(site.directory))
    found = History(str(site.directory)).find(query_of(["~smtpd_access_policy"], NOON_S))
    read = []
    with pytest.raises(HistoryError, match=r"is damaged: (\d+) decisions were not searched") as failed:
        read.extend(found)
    unread = int(re.search(r"(\d+) decisions", str(failed.value))[1])
    assert len(read) + unread == 900
    assert unread > 1

    assert export_person(settings, ANNA, as_json=True) == 0
    exported = capsys.readouterr()
    left_out = int(re.search(r"lines are damaged: (\d+)", exported.err)[1])
    assert len(exported.out.splitlines()) + left_out == len(site.annas)
    assert left_out > 0

    forget(settings, Person(ANNA), NOON_S)
    assert not list(History(str(site.directory)).find(query_of([ANNA], NOON_S)))
    data = path.read_bytes()
    end = places[places.index(damaged) + 1]
    assert data[damaged + 4 : end] == bytes(end - damaged - 4)
    assert sum(1 for _ in History(str(site.directory)).find(query_of([], NOON_S))) == len(site.others)


@pytest.mark.parametrize("length", [b"\x64\0\0\0", b"garb", b"\0\0\0\0"])
def test_a_damaged_length_hides_and_destroys_nothing(tmp_path, length):
    """Too small, far too large, or none: the blocks behind it are read as before, and stay where they are others'."""
    site = Site(tmp_path)
    site.take_in()
    path = site.directory / "2026-11-28.lines"
    places, size = [place for place, _ in blocks(str(path))], path.stat().st_size
    with path.open("r+b") as lines:
        lines.seek(places[1])
        lines.write(length)
    forget(HistorySettings(log="", path=str(site.directory)), Person(ANNA), NOON_S)
    assert path.stat().st_size < 3 * size
    data, history = path.read_bytes(), History(str(site.directory))
    for at in (place for place in range(len(data)) if data[place : place + 2] == b"\x78\x9c"):
        with contextlib.suppress(zlib.error):
            assert b"anna@example.com" not in zlib.decompressobj().decompress(data[at:]).lower()
    found = list(history.find(query_of([], NOON_S)))
    assert {each.id for each in found} == set(site.others)
    unread = 0
    for each in found:
        try:
            assert history.raw(each) + b"\n" == site.others[each.id]
        except HistoryError:
            unread += 1
    # Those of the one block.
    assert unread < 40
