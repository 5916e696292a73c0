"""The page What if, from a decision to the rule that is applied, through the application."""

from __future__ import annotations

import time

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.control_messages import ReloadReply
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.store import Store
from forkpolicy.settings import load_settings
from tests.console.asking import Browser, SignedIn
from tests.history_logs import begin, decision

POLICY = """\
acl from_us sender @example.com
action prove_it REJECT 5.7.1 not as {sender}
include console/rules.conf restricted
access from_us prove_it
"""
HOSTILE = "<script>alert(1)</script>"
CODE = "0000frgd0000"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site that has refused mail an hour ago; its server takes every reload."""
    (tmp_path / "forkpolicy.toml").write_text(
        'policy = "policy.conf"\n[history]\nlog = "log.json"\npath = "history"\ndecisions = "all"\n'
        '[console]\npath = "console"\n'
    )
    (tmp_path / "policy.conf").write_text(POLICY)
    (tmp_path / "console").mkdir()
    at_s = time.time() - 3600
    lines = [decision(at_s, code=CODE, sender="a@example.com", client_address="192.0.2.7", rule="policy.conf:4")]
    lines += [decision(at_s - n, sender="a@example.com", client_address="192.0.2.8") for n in range(3)]
    lines.append(decision(at_s, code="0000xxxx0000", sender=f"{HOSTILE}@example.com", client_address="192.0.2.9"))
    lines.append(decision(at_s, code="0000yyyy0000", sender="\u202egpj.exe@example.com", recipient="=1+1@{{7*7}}"))
    (tmp_path / "log.json").write_bytes(begin() + b"".join(lines))
    ingester = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 3650, print, time.time)
    ingester.turn()
    ingester.close()
    parts = Parts(load_settings(str(tmp_path / "forkpolicy.toml")))
    monkeypatch.setattr(type(parts), "ask", lambda *_: ReloadReply(True, 2))

    class Site:
        folder, rules = tmp_path, tmp_path / "console" / "rules.conf"
        browser = Browser(application(parts, SignedIn()))
        application_parts = parts

    return Site()


def test_from_a_decision_to_a_rule(site):
    """Proposals with their effect; the one that is applied is in the file, with a note that names the decision."""
    found = site.browser.json(f"/whatif?id={CODE}")
    assert (found["state"], found["choice"], found["decision"]["id"]) == ("done", 0, CODE)
    assert found["choices"][0]["summary"] == "this sender to this recipient"
    assert (found["answer"]["changed"], found["answer"]["exact"]) == (4, True)
    narrow = site.browser.json(f"/whatif?id={CODE}&choice=1&ends=never")
    assert narrow["answer"]["changed"] == 1
    assert narrow["answer"]["own"]["after"]["action"] == "DUNNO"
    assert "date" not in narrow["text"]
    page = site.browser.get(f"/whatif?id={CODE}&choice=1&ends=never")
    assert page.status == 200
    assert "It would have changed exactly 1 decision of the" in page.text
    assert f'href="/why/{CODE}"' in page.text
    form = {"text": narrow["text"], "note": narrow["note"], "token": "token"}
    applied = site.browser.post("/whatif/apply", form)
    assert (applied.status, applied.headers["location"][:8]) == (303, "/change/")
    assert site.rules.read_text() == narrow["text"]
    change = site.application_parts.change.versions.newest(str(site.rules), 0, 1)[0]
    assert CODE in change.note
    applied = [each for each in site.application_parts.audit.find() if each.what.startswith("applies")]
    assert [each.client for each in applied] == ["192.0.2.7"]
    after = site.browser.json(f"/whatif?id={CODE}&choice=1&ends=never")
    assert (after["answer"]["changed"], after["answer"]["own"]["before"]["action"]) == (0, "DUNNO")


def test_lines_of_ones_own(site):
    """As lines, or as one line for a command; mistakes stand at theirs."""
    lines = "acl x sender a@example.com\naccess x\n"
    assert site.browser.json(f"/whatif?statements={lines.replace(chr(10), '%0A')}")["answer"]["changed"] == 4
    found = site.browser.json("/whatif?statements=acl+x+sender+a@example.com+/+access+x")
    assert found["answer"]["changed"] == 4
    wrong = site.browser.json("/whatif?statements=acl+x+client_address+nowhere")
    assert (wrong["state"], "rules.conf:1" in wrong["mistakes"][0]) == ("failed", True)
    assert site.browser.get("/whatif").status == 200


def test_a_page_does_not_wait(site, monkeypatch):
    """It says that it counts, with a link that asks again and an address for htmx."""
    monkeypatch.setattr("forkpolicy.console.whatif.pages._WAIT_S", 0)
    monkeypatch.setattr("forkpolicy.console.whatif.replays.Replays._run", lambda _self: None)
    page = site.browser.get(f"/whatif?id={CODE}")
    assert "Look again" in page.text
    assert "part=answer" in page.text
    part = site.browser.get(f"/whatif?id={CODE}&part=answer")
    assert (part.status, "<html" in part.text) == (200, False)
    count = site.browser.get(f"/whatif?id={CODE}&choice=1&part=count")
    assert ("being counted" in count.text, 'id="count-1"' in count.text) == (True, True)


def test_a_part_is_said_to_be_one(site):
    """With how many there are, and a link to a longer replay."""
    found = site.browser.json(f"/whatif?id={CODE}&most=2")
    assert (found["answer"]["looked_at"], found["answer"]["partial"], found["recorded"]) == (2, True, 6)
    page = site.browser.get(f"/whatif?id={CODE}&most=2").text
    assert "The newest 2 of the 6 requests" in page
    assert "most=200000" in page


def test_what_is_listed_is_there_as_csv(site):
    """With a line for each decision that changes."""
    answer = site.browser.get(f"/whatif?id={CODE}&format=csv")
    lines = answer.text.splitlines()
    assert (lines[0].split(",")[:3], len(lines)) == (["time", "id", "client"], 5)


@pytest.mark.parametrize("query", ["until=yesterday", "until=2020-01-01", "days=0", "choice=99", "most=0"])
def test_what_cannot_be_used_is_said(site, query):
    """With the name of the field."""
    answer = site.browser.get(f"/whatif?id={CODE}&{query}")
    assert (answer.status, query.partition("=")[0] in answer.text.lower()) == (422, True)


def test_a_decision_that_is_not_there(site):
    """Is a page that says so."""
    assert site.browser.get("/whatif?id=nothing00000").status == 404


def test_a_wrong_line_is_not_applied(site):
    """The page says what is wrong and leads to the editor."""
    answer = site.browser.post("/whatif/apply", {"text": f"acl {HOSTILE} nonsense", "note": HOSTILE, "token": "token"})
    assert (answer.status, site.rules.exists() and site.rules.read_text()) == (409, False)
    assert HOSTILE not in answer.text
    assert "/change?add=" in answer.text


def test_what_strangers_send_is_text(site):
    """In the decision, its proposals, their lines, and the list."""
    for code in ("0000xxxx0000", "0000yyyy0000"):
        page = site.browser.get(f"/whatif?id={code}")
        assert page.status == 200
        assert HOSTILE not in page.text
        assert "\u202e" not in page.text
        assert site.browser.json(f"/whatif?id={code}")["state"] == "done"


def test_only_administrators_try_and_apply(site):
    """Operators look at decisions, and that is all."""
    for role in (Role.OPERATOR, Role.DOMAIN, Role.USER):
        browser = Browser(application(site.application_parts, SignedIn(role)))
        assert browser.get(f"/whatif?id={CODE}").status == 403
        assert browser.post("/whatif/apply", {"text": "access x", "token": "token"}).status == 403
