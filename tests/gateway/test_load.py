"""`python -m loadtest gateway` finds nothing wrong in a gateway that is right, and what is wrong in another one."""

from __future__ import annotations

import json

import pytest

from loadtest.commands import gateway
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
