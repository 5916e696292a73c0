"""The status document: names and shapes that scripts read stay, and another release's is understood or refused."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.commands import main
from forkpolicy.commands.reload import UNKNOWN_REASON
from forkpolicy.commands.shared.status_report import as_text
from forkpolicy.control_client import look
from forkpolicy.documents import InvalidDocumentError, parse, plain
from forkpolicy.errors import EXIT_NO, ForkpolicyError
from forkpolicy.scoreboard import FIELDS
from forkpolicy.status import STATUS_VERSION, Status
from forkpolicy.status_document import StatusDocument
from tests.statuses import DATA, recorded_fields

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.just({})


def recorded():
    return parse(Status, recorded_fields(), others=True)


def test_json_is_what_it_was():
    """Byte for byte, from what a master sent: fields are added and none changes."""
    assert json.dumps(plain(StatusDocument.of(recorded()))) + "\n" == (DATA / "status.json").read_text()


def test_words_are_made_of_the_same():
    """Every number of the recorded text."""
    assert as_text(StatusDocument.of(recorded())) + "\n" == (DATA / "status.txt").read_text()


def test_a_master_sends_what_it_sent():
    """A document goes to JSON and back, and has the fields in their previous order."""
    fields = recorded_fields()
    assert fields.pop("ok") is True
    assert json.dumps(plain(recorded())) == json.dumps(fields)


def test_the_counters_are_those_of_the_scoreboard():
    """In its order: a slot is read by it."""
    assert list(recorded_fields()["workers"][0]["counters"]) == list(FIELDS)


def test_a_policy_without_a_shadow_has_no_such_field():
    """As before: it is left out, not null."""
    fields = recorded_fields()
    del fields["policy"]["shadow"]
    seen = plain(StatusDocument.of(parse(Status, fields, others=True)))
    assert list(seen["policy"]) == ["policy", "lines", "acls", "tables", "warnings"]


def test_what_a_newer_master_adds_is_ignored(monkeypatch):
    """At every level, while the version of the status is the same."""
    fields = recorded_fields()
    fields["brand_new"] = fields["log"]["brand_new"] = fields["workers"][0]["counters"]["brand_new"] = 1
    monkeypatch.setattr("forkpolicy.control_client.ask", lambda *_: fields)
    assert look("control", 1) == recorded()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda fields: fields.pop("uptime_s"), "uptime_s: is missing"),
        (lambda fields: fields["workers"][1].update(latency="1"), "workers[1].latency: expected a list, found '1'"),
        (lambda fields: fields.update(status_version=STATUS_VERSION + 1), "cannot read its status: an upgrade"),
    ],
)
def test_a_status_that_cannot_be_read_is_reported_with_its_field(monkeypatch, spoil, said):
    """Which release runs, what is wrong, and what to do; no traceback."""
    fields = recorded_fields()
    spoil(fields)
    monkeypatch.setattr("forkpolicy.control_client.ask", lambda *_: fields)
    with pytest.raises(ForkpolicyError, match=re.escape(said)) as refused:
        look("control", 1)
    assert "another release is running (0.2.0, master 99)" in str(refused.value)


@given(st.sampled_from(sorted(recorded_fields())), ANYTHING)
def test_any_value_is_read_or_refused(name, value):
    """No other exception, in reading and in showing."""
    try:
        status = parse(Status, {**recorded_fields(), name: value}, others=True)
    except InvalidDocumentError:
        return
    as_text(StatusDocument.of(status))


def test_a_refusal_of_a_master_of_another_release_is_one(tmp_path, monkeypatch, capsys):
    """Its reasons stand in other fields: they are unknown, and the exit status is that of a refusal."""
    settings = tmp_path / "forkpolicy.toml"
    settings.touch()
    reply = {"ok": False, "generation": 3, "complaints": ["policy.conf:1:1: unknown statement"], "notes": []}
    monkeypatch.setattr("forkpolicy.control_client.ask", lambda *_: reply)
    assert main(["reload", "-c", str(settings)]) == EXIT_NO
    assert capsys.readouterr().err.splitlines()[0] == UNKNOWN_REASON
