"""The name server of the load tests as a program: what its words mean, and what it counts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from forkpolicy.world.dns.answers import NXDOMAIN
from loadtest.__main__ import main
from loadtest.servers.names.process import name_server_process
from loadtest.servers.names.spec import WORDS, behaviour, zone
from tests.resolving import asking

LISTED = ("127.0.0.2",)


def test_zones_are_answered_as_their_words_say():
    """In a process of its own, the longest zone first."""
    zones = {
        "list.example": "listed",
        "other.list.example": "listed:127.0.0.4",
        "late.example": "late:0.1:listed",
        "long.example": "truncated:listed",
        "old.example": "formerr:listed",
        "lies.example": "not-mine-first:listed",
        "once.example": "malformed-first:listed",
    }
    with name_server_process(zones) as address, asking(address) as client:
        found = {name: client.ask(f"a.{name}").records for name in zones}
        assert found == dict.fromkeys(zones, LISTED) | {"other.list.example": ("127.0.0.4",)}
        assert client.ask("elsewhere.example") == NXDOMAIN


def test_it_counts_what_it_was_asked():
    """By zone, at its end."""
    command = [sys.executable, "-m", "loadtest", "name-server", "--zone", "list.example=listed", "--zone", "x=never"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[-1]
        with asking(address) as client:
            for name in ("a.list.example", "b.list.example", "c.example"):
                client.ask(name)
        counts, _ = process.communicate()
    assert [line.split() for line in counts.splitlines()] == [
        ["2", "list.example"],
        ["0", "x"],
        ["1", "other", "names"],
    ]


@pytest.mark.parametrize("text", ["", "list", "late:listed", "late:x:listed", "truncated", "truncated:no", "never:1"])
def test_what_is_no_behaviour_is_an_error(text):
    """With what was expected, as a usage error of the command."""
    with pytest.raises(ValueError, match="expected"):
        behaviour(text)
    with pytest.raises(SystemExit) as ended:
        main(["name-server", "--zone", f"a={text}"])
    assert ended.value.code == 2


def test_a_zone_needs_a_name_and_a_behaviour():
    """And every word of the help has a meaning."""
    for text in ("list.example", "=listed"):
        with pytest.raises(ValueError, match="ZONE=BEHAVIOUR"):
            zone(text)
    for word in WORDS:
        assert behaviour(word.replace("SECONDS", "1").replace("...", "listed"))
