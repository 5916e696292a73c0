"""`forkpolicy held`: what an administrator sees and does at a shell, and the exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.gateway.stores import LmtpClient, Store

MAIL = b"From: news@example.org\r\nSubject: Hello \x1b[31m\r\n\r\nText \xe9\r\n"


@pytest.fixture
def store(tmp_path):
    """A store with a mail for alice and bob."""
    with Store(tmp_path) as store:
        with LmtpClient(store.sockets / "store-spam") as client:
            client.send("news@example.org", ["alice@example.com", "bob@example.com"], MAIL)
        yield store


def held(store, *words, text=True):
    """Run a command."""
    command = [sys.executable, "-m", "forkpolicy", "held", "-c", str(store.settings), *words]
    return subprocess.run(command, capture_output=True, text=text, check=False, timeout=60)


def test_list_shows_a_line_each(store):
    """Number, cause, envelope, subject without orders to a terminal; --json for tools; 1 where there is none."""
    done = held(store, "list")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "<news@example.org> to <bob@example.com>" in first
    assert second.startswith("1  ")
    assert "\x1b" not in done.stdout
    rows = json.loads(held(store, "list", "--recipient", "ALICE@example.com", "--json").stdout)["rows"]
    assert [row["id"] for row in rows] == [1]
    none = held(store, "list", "--cause", "virus")
    assert (none.returncode, none.stdout, "no such mail in that state; --state all" in none.stderr) == (1, "", True)


def test_pages_of_a_list(store):
    """What `list` prints on standard error is what --before takes."""
    done = held(store, "list", "--most", "1")
    place = done.stderr.split()[-1]
    assert held(store, "list", "--most", "1", "--before", place).stdout.startswith("1  ")
    wrong = held(store, "list", "--before", "yesterday")
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (2, False)


def test_show_says_why(store):
    """All that is known of a copy; --raw its bytes; 1 and words where there is none."""
    done = held(store, "show", "1")
    assert done.returncode == 0
    assert "held by    spam: the policy server at" in done.stdout
    assert "From: news@example.org" in done.stdout
    assert held(store, "show", "1", "--raw", text=False).stdout == MAIL
    missing = held(store, "show", "99")
    assert (missing.returncode, missing.stderr) == (1, "there is no mail 99\n")


def test_release_and_delete(store):
    """Each says how many; a second time what state it has, with status 1."""
    assert held(store, "release", "1").stdout == "1 released\n"
    again = held(store, "release", "1", "2")
    assert (again.returncode, again.stdout) == (0, "1 released\n")
    assert again.stderr == "1 is releasing already\n"
    late = held(store, "delete", "2")
    assert (late.returncode, late.stdout) == (1, "0 deleted\n")
    shown = held(store, "show", "1").stdout
    assert "(shell): released" in shown


def test_expire_and_ledger(store):
    """Nothing to expire is status 1; the ledger counts everything, and is status 1 where a file is missing."""
    assert held(store, "expire").returncode == 1
    done = held(store, "ledger")
    assert done.returncode == 0
    assert done.stdout.startswith("accepted: 2\n  held: 2\n")
    next(each for each in (store.path / "mail").rglob("*") if each.is_file()).unlink()
    wrong = held(store, "ledger", "--json")
    assert wrong.returncode == 1
    assert len(json.loads(wrong.stdout)["wrong"]) == 2


def test_without_a_store(store):
    """69, and what to do, without a traceback."""
    store.stop()
    done = held(store, "list")
    assert done.returncode == 69
    assert "start forkpolicy-store" in done.stderr
    assert "Traceback" not in done.stderr
