"""What the history log says of a term that asked a table, also when it was asked the same before."""

from __future__ import annotations

import json

import pytest

from forkpolicy.compile.command import main as compile_tables
from forkpolicy.loading import load_everything
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from forkpolicy.worker import decision_details
from forkpolicy.worker.decision_details import terms_of

POLICY = "table ours domain ours\nacl from_us sender table:ours\naction no REJECT no\naccess from_us no\n"


@pytest.fixture
def loaded(tmp_path, capsys):
    """A policy with one table, and what compiles it."""
    (tmp_path / "forkpolicy.toml").write_text('tables = "compiled"\npolicy = "policy.conf"\n')
    (tmp_path / "policy.conf").write_text(POLICY)

    def compiled(entries):
        (tmp_path / "ours").write_text(entries)
        assert compile_tables(["-c", str(tmp_path / "forkpolicy.toml")]) == 0

    compiled("example.com\n")
    loaded = load_everything(tmp_path / "forkpolicy.toml")
    (table,) = loaded.all_tables
    table.refresh()
    yield loaded.policy, table, compiled
    table.close()


def said(policy, terms, sender):
    """The one term of a request from this sender."""
    values = wanted_values(Request({"sender": sender}, None), policy.wanted)
    (term,) = json.loads(terms(values))
    return term.get("entry"), term.get("source", "").rpartition("/")[2]


def test_what_is_said_of_a_value_follows_the_table(loaded):
    """Asked twice it is the same; of the next version of the table it is what that has."""
    policy, table, compiled = loaded
    terms = terms_of(policy, policy.model.rules[0])
    for _ in range(2):
        assert said(policy, terms, "anna@example.com") == ("example.com", "ours:1")
        assert said(policy, terms, "anna@example.org") == (None, "")
    compiled("example.net\nexample.com\n")
    table.refresh()
    for _ in range(2):
        assert said(policy, terms, "anna@example.com") == ("example.com", "ours:2")


def test_what_strangers_send_does_not_fill_the_memory(loaded, monkeypatch):
    """Neither many values nor long ones are kept."""
    monkeypatch.setattr(decision_details, "_REMEMBERED_TERMS", 10)
    policy, _, _ = loaded
    terms = terms_of(policy, policy.model.rules[0])
    (term,) = _table_terms(terms)
    for number in range(100):
        assert said(policy, terms, f"{number}@example.com") == ("example.com", "ours:1")
        assert said(policy, terms, f"{number}{'x' * 500}@example.com") == ("example.com", "ours:1")
    assert len(term._texts_of_values) <= 11


def _table_terms(terms):
    cells = [cell.cell_contents for cell in terms.__closure__]
    return [each for cell in cells if isinstance(cell, list) for each in cell if hasattr(each, "_texts_of_values")]
