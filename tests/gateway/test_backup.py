"""`forkpolicy held backup` and `restore`: of a store that runs, whole at every moment; nothing goes out by itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from forkpolicy.gateway.client import ask, read_mail
from forkpolicy.gateway.digest import running as digests
from forkpolicy.gateway.store import backing_up
from forkpolicy.gateway.store_messages import (
    Changed,
    DeleteHeld,
    Ledger,
    ListHeld,
    ReleaseHeld,
    Scope,
    ShowHeld,
    Wanted,
)
from loadtest.servers.postfix import missing, traversable_directory
from tests.gateway.next_servers import NextServer, release_postfix
from tests.gateway.stores import LmtpClient, Store
from tests.process.waiting import eventually

ALL = Scope(everything=True)
DEADLINE_S = 30


def mail(number, size=0):
    """A mail of its own."""
    return f"From: news@example.org\r\nSubject: number {number}\r\n\r\n{'x' * size}\r\n".encode()


def deliver(store, number, *recipients, size=0):
    """Have the store take a mail."""
    with LmtpClient(store.sockets / "store-spam") as client:
        statuses = client.send("news@example.org", list(recipients), mail(number, size), f"4Xq{number}")
    assert all(each.startswith("250") for each in statuses), statuses


def command(store, *words):
    """`forkpolicy held WORDS`."""
    words = [sys.executable, "-m", "forkpolicy", "held", "-c", str(store.settings), *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def back_up(store, target):
    """What the command says."""
    done = command(store, "backup", target, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def restored(base, backup, *more, others=""):
    """A store of its own that is made of a backup, not started yet; what the command says."""
    base.mkdir(exist_ok=True)
    store = Store(base, "", others)
    done = command(store, "restore", backup, "--json", *more)
    assert done.returncode == 0, done.stderr + done.stdout
    return store, json.loads(done.stdout)


def rows(store, state="held"):
    """The copies in a state."""
    return list(reversed(ask(store.api, ListHeld(ALL, Wanted(state), None, 0, 1000)).rows))


def release(store, *ids):
    """Release rows."""
    assert ask(store.api, ReleaseHeld(ALL, ids, "admin")) == Changed(len(ids), ())


def files_in(directory):
    """The files of mail."""
    return sorted(path.name for path in (directory / "mail").rglob("*") if path.is_file())


@pytest.fixture
def server():
    """The server behind."""
    with NextServer() as running:
        yield running


@pytest.fixture
def store(tmp_path, server):
    """A store with a mail for alice and bob and one for carol."""
    (tmp_path / "first").mkdir()
    with Store(tmp_path / "first", "", sends_to(server)) as running:
        deliver(running, 1, "alice@example.com", "bob@example.com")
        deliver(running, 2, "carol@example.com")
        yield running


def sends_to(server):
    """[release] in gateway.toml."""
    return f'[release]\nsmtp = "127.0.0.1:{server.port}"\nretry_s = 1\n'


def test_what_comes_back_is_what_was_held(store, tmp_path):
    """Every copy with its number, its words and its bytes; the ledger finds nothing wrong."""
    made = back_up(store, tmp_path / "backup")
    assert (made["by_state"], made["mails"], made["new"]) == ({"held": 3}, 2, 2)
    before = [(row.id, row.recipient, row.subject, row.why, row.arrived_s) for row in rows(store)]
    again, done = restored(tmp_path / "second", tmp_path / "backup")
    assert (done["by_state"], done["held_again"], done["wrong"]) == ({"held": 3}, 0, [])
    with again:
        assert [(row.id, row.recipient, row.subject, row.why, row.arrived_s) for row in rows(again)] == before
        assert [read_mail(again.api, ALL, row) for row in (1, 2, 3)] == [mail(1), mail(1), mail(2)]
        ledger = ask(again.api, Ledger())
        assert (ledger.accepted, ledger.unclean_ends, ledger.twice, ledger.wrong) == (3, 0, (), ())
        assert "restored from a backup of" in ask(again.api, ShowHeld(ALL, 1)).events[-1][2]
        # It takes mail as before, under numbers that go on.
        deliver(again, 3, "dora@example.com")
        assert [row.id for row in rows(again)] == [1, 2, 3, 4]


def test_a_later_backup_copies_what_is_new_and_forgets_what_is_gone(store, tmp_path):
    """Files have the names of their bytes: those that are there stay as they are."""
    back_up(store, tmp_path / "backup")
    (old,) = (path for path in (tmp_path / "backup/mail").rglob("*") if path.is_file() and path.read_bytes() == mail(1))
    inode = old.stat().st_ino
    assert ask(store.api, DeleteHeld(ALL, (3,), "admin")).changed == 1
    deliver(store, 3, "alice@example.com")
    made = back_up(store, tmp_path / "backup")
    assert (made["by_state"], made["mails"], made["new"]) == ({"held": 3, "deleted": 1}, 2, 1)
    assert old.stat().st_ino == inode
    assert files_in(tmp_path / "backup") == files_in(store.path)
    assert not list(store.path.glob("backup-*"))


def test_what_was_released_since_is_held_again_and_listed_when_it_goes_out_twice(store, server, tmp_path):
    """Nothing is sent by itself; the copy that somebody releases once more is one of the ledger's, and no other."""
    back_up(store, tmp_path / "backup")
    release(store, 1)
    server.wait_for(1)
    again, _ = restored(tmp_path / "second", tmp_path / "backup", others=sends_to(server))
    with again:
        assert [row.id for row in rows(again)] == [1, 2, 3]
        release(again, 1)
        server.wait_for(2)
        eventually(lambda: ask(again.api, Ledger()).twice, DEADLINE_S)
        assert [held for held, _, _ in ask(again.api, Ledger()).twice] == [1]
        assert [taken.recipient for taken in server.taken] == ["RCPT TO:<alice@example.com> NOTIFY=NEVER"] * 2


def test_what_was_on_its_way_is_held(tmp_path, server):
    """It may have arrived after the backup: a person decides. Mail that Postfix had waits for its log."""
    (tmp_path / "first").mkdir()
    with Store(tmp_path / "first", "", sends_to(server)) as store:
        deliver(store, 1, "alice@example.com")
        deliver(store, 2, "bob@example.com")
        release(store, 1)
        eventually(lambda: rows(store, "sent"), DEADLINE_S)
        server.replies["bob@example.com"] = "451 4.3.0 later"
        release(store, 2)
        eventually(lambda: ask(store.api, ShowHeld(ALL, 2)).row.backend_reply, DEADLINE_S)
        assert back_up(store, tmp_path / "backup")["by_state"] == {"releasing": 1, "sent": 1}
    server.replies.clear()
    here, done = restored(tmp_path / "here", tmp_path / "backup", others=sends_to(server))
    assert (done["by_state"], done["held_again"]) == ({"held": 1, "sent": 1}, 1)
    elsewhere, done = restored(tmp_path / "elsewhere", tmp_path / "backup", "--elsewhere", others=sends_to(server))
    assert (done["by_state"], done["held_again"]) == ({"held": 2}, 2)
    for again in (here, elsewhere):
        with again:
            (row,) = (row for row in rows(again) if row.id == 2)
            assert "it may have been sent on since" in row.backend_reply
            assert ask(again.api, Ledger()).wrong == ()
    assert len(server.taken) == 1


@pytest.mark.skipif(bool(missing()), reason=missing() or "Postfix is there")
def test_the_log_says_what_became_of_mail_that_postfix_had(tmp_path):
    """The restored store reads Postfix's log on from the place of the backup: delivered since, or refused and held."""
    with traversable_directory() as base, NextServer() as server, release_postfix(base, server.port) as postfix:
        others = f'[release]\nsmtp = "127.0.0.1:{postfix.port}"\nretry_s = 1\n'
        (tmp_path / "first").mkdir()
        server.replies |= dict.fromkeys(("alice@example.com", "bob@example.com"), "451 4.3.0 later")
        with Store(tmp_path / "first", "", others, mail_log=str(postfix.log)) as store:
            deliver(store, 1, "alice@example.com", "bob@example.com")
            release(store, 1, 2)
            eventually(lambda: len(rows(store, "sent")) == 2, DEADLINE_S)
            back_up(store, tmp_path / "backup")
        server.replies = {"bob@example.com": "550 5.1.1 no bob here"}
        # While no store looks.
        eventually(lambda: postfix.flush() or server.taken, 2 * DEADLINE_S)
        eventually(lambda: "no bob here" in postfix.log.read_text(), DEADLINE_S)
        (tmp_path / "second").mkdir()
        again = Store(tmp_path / "second", "", others, mail_log=str(postfix.log))
        done = json.loads(command(again, "restore", tmp_path / "backup", "--json").stdout)
        assert (done["by_state"], done["held_again"]) == ({"sent": 2}, 0)
        with again:
            eventually(lambda: rows(again, "delivered") and rows(again), DEADLINE_S)
            assert "no bob here" in rows(again)[0].backend_reply
            assert ask(again.api, Ledger()).twice == ()


def test_a_backup_is_whole_while_mail_arrives_and_goes(store, server, tmp_path):
    """Ten of them under load: each has every file that its rows need."""
    stop, number = threading.Event(), iter(range(100, 100_000))

    def load():
        while not stop.is_set():
            deliver(store, next(number), "alice@example.com", "bob@example.com", size=20_000)
            ids = tuple(row.id for row in rows(store)[:2])
            ask(store.api, DeleteHeld(ALL, ids, "admin"))

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for each in range(10):
            target = tmp_path / f"backup-{each}"
            assert back_up(store, target)["wrong"] == []
            with contextlib.closing(sqlite3.connect(target / "held.db")) as copy:
                question = "SELECT DISTINCT digest FROM message JOIN held ON message = message.id WHERE state = 'held'"
                assert sorted(digest for (digest,) in copy.execute(question)) == files_in(target)
    finally:
        stop.set()
        loading.join()
    assert ask(store.api, Ledger()).wrong == ()


def test_nobody_writes_while_files_get_their_second_names(store, tmp_path, monkeypatch):
    """A mail that came between the files and the copy of held.db would be a row without its file."""
    tries, link = [], os.link

    def linked(*paths):
        with contextlib.closing(sqlite3.connect(store.path / "held.db", timeout=0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                tries.append(str(error))
        link(*paths)

    monkeypatch.setattr("os.link", linked)
    assert backing_up.back_up(store.path, tmp_path / "backup").mails == 2
    assert tries == ["database is locked"] * 2


def test_a_backup_waits_for_no_run_of_digests(store, tmp_path):
    """Each is one at a time, and the two have nothing to do with each other; a second backup is refused."""
    with digests._alone(str(store.path)):
        assert back_up(store, tmp_path / "backup")["mails"] == 2
    with backing_up._alone(store.path):
        refused = command(store, "backup", tmp_path / "backup")
        assert "another backup is being made" in refused.stderr
        with digests._alone(str(store.path)):
            """A run of digests begins meanwhile."""


def test_a_backup_that_is_killed_leaves_the_earlier_one(store, tmp_path):
    """Whenever it is: what it has begun is removed by the next one, and the earlier one is restored."""
    target = tmp_path / "backup"
    back_up(store, target)
    for each in range(20):
        deliver(store, 10 + each, "alice@example.com", size=300_000)
    words = [sys.executable, "-m", "forkpolicy", "held", "-c", str(store.settings), "backup", str(target)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    eventually(lambda: process.poll() is not None or len(files_in(target)) > 5, DEADLINE_S)
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE_S)
    shutil.copytree(target, tmp_path / "copy")
    again, done = restored(tmp_path / "second", tmp_path / "copy")
    assert done["wrong"] == []
    assert done["by_state"]["held"] in (3, 23)
    assert back_up(store, target)["mails"] == 22
    assert not list(store.path.glob("backup-*"))
    assert not list((target / "incoming").iterdir())
    with again:
        assert ask(again.api, Ledger()).wrong == ()


def test_mail_that_is_damaged_or_missing_is_named(store, tmp_path):
    """The rest is restored; the exit status is 1, and the ledger says the same."""
    target = tmp_path / "backup"
    back_up(store, target)
    for path in [path for path in (target / "mail").rglob("*") if path.is_file()]:
        if path.read_bytes() == mail(1):
            path.write_bytes(mail(9))
        else:
            path.unlink()
    (tmp_path / "second").mkdir()
    again = Store(tmp_path / "second")
    done = command(again, "restore", target)
    assert done.returncode == 1
    assert "its bytes are others than when it arrived" in done.stdout
    assert "is missing in the backup" in done.stdout
    with again:
        assert len(ask(again.api, Ledger()).wrong) == 3
    # A later backup brings the file back that is missing, and keeps what it has.
    assert back_up(store, target)["new"] >= 1


def test_links_of_earlier_digests_act_no_more(store, tmp_path):
    """Numbers are given again after a restore: a link would be about another mail."""
    back_up(store, tmp_path / "backup")
    assert not (tmp_path / "backup" / "link.key").exists()
    (tmp_path / "second" / "held").mkdir(parents=True)
    (tmp_path / "second" / "held" / "link.key").write_bytes(b"k" * 32)
    again, _ = restored(tmp_path / "second", tmp_path / "backup")
    with again:
        assert (again.path / "link.key").read_bytes() != b"k" * 32


@pytest.mark.parametrize("case", ["running", "there", "no backup", "a copy", "inside", "other files", "later release"])
def test_what_cannot_be_done_is_refused_in_words(store, tmp_path, case):
    """Where, what is wrong, what was expected; nothing is changed."""
    target = tmp_path / "backup"
    back_up(store, target)
    (tmp_path / "second").mkdir()
    other = Store(tmp_path / "second")
    if case == "running":
        done, said = command(store, "restore", target), "another store uses it"
    elif case == "there":
        restored(tmp_path / "second", target)
        done, said = command(other, "restore", target), "there is a store already"
    elif case == "no backup":
        done, said = command(other, "restore", tmp_path / "nowhere"), "there is no backup"
    elif case == "a copy":
        done, said = command(other, "restore", store.path), "does not come from a backup"
    elif case == "inside":
        done, said = command(store, "backup", store.path / "backup"), "is inside the store"
    elif case == "other files":
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "letter").touch()
        done, said = command(store, "backup", tmp_path / "home"), "has letter: expected an empty directory"
    else:
        with contextlib.closing(sqlite3.connect(target / "held.db")) as copy:
            copy.execute("PRAGMA user_version = 999")
        done, said = command(other, "restore", target), "is of version 999"
    assert done.returncode == 73, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    if case in ("no backup", "a copy", "later release"):
        assert not (other.path / "held.db").exists()
    assert len(rows(store)) == 3


@pytest.mark.parametrize("name", ["mail", "incoming", "held.lock", "held.db.restored"])
def test_a_restore_follows_no_links(store, tmp_path, name):
    """Root would give files elsewhere to the store's user, or write there."""
    back_up(store, tmp_path / "backup")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("of somebody else")
    (tmp_path / "other").mkdir()
    other = Store(tmp_path / "other")
    other.path.mkdir()
    (other.path / name).symlink_to(elsewhere if "." not in name else elsewhere / "new")
    done = command(other, "restore", tmp_path / "backup")
    assert done.returncode != 0
    assert "symbolic link" in done.stderr
    assert [each.name for each in elsewhere.iterdir()] == ["file"]
