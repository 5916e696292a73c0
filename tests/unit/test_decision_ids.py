"""Ids of decisions, and of what they were decided with; the lines that explain them."""

from __future__ import annotations

import re

from forkpolicy.decision_ids import ALPHABET, decision_ids, in_force_id
from forkpolicy.log import LogPipe
from forkpolicy.master.processes.definitions import Definitions


def test_ids_are_twelve_characters_without_vowels():
    """A hundred thousand are all different, and every character stands in every place."""
    new_id = decision_ids()
    ids = {new_id() for _ in range(100_000)}
    assert len(ids) == 100_000
    assert all(re.fullmatch("[0-9bcdfghjklmnpqrstvwxyz]{12}", each) for each in ids)
    assert all({each[at] for each in ids} == set(ALPHABET) for at in range(12))


def test_equal_versions_are_in_force_by_one_id():
    """Whatever the order of the tables; another version of anything is another id."""
    tables = [("networks", "a1"), ("domains", "b2")]
    known = in_force_id("p1", "s1", tables)
    assert re.fullmatch("[0-9bcdfghjklmnpqrstvwxyz]{8}", known)
    assert in_force_id("p1", "s1", tables[::-1]) == known
    others = [
        in_force_id("p2", "s1", tables),
        in_force_id("p1", "s2", tables),
        in_force_id("p1", "s1", tables[:1]),
        in_force_id("p1", "s1", [*tables[:1], ("domains", "")]),
    ]
    assert len({known, *others}) == 5


def definition(style, name):
    """A line as a worker writes it."""
    return LogPipe(-1, style, {"worker": 1}).line("info", "in force", in_force=name, host="mx1", generation=1)


def test_the_log_keeps_its_definitions():
    """Each id once, in both styles, and no line that a stranger could have written."""
    for style in ("logfmt", "json"):
        kept = Definitions()
        pipe = LogPipe(-1, style)
        forged = pipe.line("info", "decision", client='event="in force" in_force=0000', helo="in force", in_force="dd")
        kept.note(definition(style, "bbbb") + forged + pipe.line("warning", "in force", in_force="x"))
        kept.note(definition(style, "cccc"))
        kept.note(definition(style, "bbbb"))
        lines = kept.text().splitlines(keepends=True)
        assert [b"cccc" in line for line in lines] == [True, False]
        assert b"bbbb" in lines[1]


def test_old_definitions_are_forgotten():
    """A log of years must not begin each file with all of them."""
    kept = Definitions()
    for number in range(1000):
        kept.note(definition("json", f"v{number}"))
    assert kept.text().count(b"\n") == 32
    assert b"v999" in kept.text()
