"""The load tests of a gateway: nothing is wrong in one that is right, another is found out; pages are measured."""

from __future__ import annotations

import json

import pytest

from loadtest.commands import gateway, held
from loadtest.servers import rspamd
from loadtest.servers.postfix import missing

pytestmark = [
    pytest.mark.skipif(bool(missing() or rspamd.missing()), reason=missing() or rspamd.missing() or "both are there"),
    pytest.mark.timeout(400),  # the first start of rspamd
]


def test_a_right_gateway_has_nothing_wrong(capsys):
    """Two hours of a small day: every kind of mail, none wrong, lost or doubled."""
    status = gateway.main(["--mails", "400", "--mailboxes", "50", "--hours", "2", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (status, found["wrong"], found["lost"], found["doubled"]) == (0, 0, 0, 0), found
    every = {name: sum(each[name] for each in found["kinds"].values()) for name in ("refused", "held", "delivered")}
    assert min(every.values()) > 5
    assert found["ledger_wrong"] == []


def test_a_wrong_gateway_is_found_out(capsys, monkeypatch):
    """Its policy has not the rule that the day expects: that mail is wrong, nothing else, and the status is 1."""
    monkeypatch.setattr(gateway, "_RULES", "")
    status = gateway.main(["--mails", "700", "--mailboxes", "50", "--hours", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (status, found["lost"], found["doubled"]) == (1, 0, 0), found
    assert {kind for kind, each in found["kinds"].items() if each["wrong"]} == {"strange"}


def test_pages_of_held_mail_are_measured(capsys):
    """Each page by the store's socket and by the console; memory while mail arrives and people act."""
    held.main(["--rows", "1000", "--mailboxes", "20", "--rounds", "2", "--soak", "0.05", "--json"])
    found = json.loads(capsys.readouterr().out)
    pages = {each["page"]: each for each in found["pages"]}
    assert {"store: a user's", "store: a domain's", "console: a user's", "console: a domain's"} <= set(pages)
    assert all(each["least_ms"] > 0 for each in pages.values())
    (minute,) = found["soak"]
    assert min(minute["store_private_kib"], minute["console_private_kib"], minute["arrived"], minute["pages"]) > 0


@pytest.mark.parametrize(("least_ms", "wanted_ms", "is_slow"), [(29.0, 30, False), (31.0, 30, True), (900.0, 0, False)])
def test_a_page_is_slow_by_the_least_of_its_times(least_ms, wanted_ms, is_slow):
    """Where something is wanted of it: other work on the machine makes the median longer."""
    assert held._is_slow({"least_ms": least_ms, "wanted_ms": wanted_ms}) is is_slow
