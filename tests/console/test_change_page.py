"""The page Change through the application, without scripts: check, explain, what if, apply, undo, two at once."""

from __future__ import annotations

import json
import re

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.control_messages import ReloadReply
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.store import Store
from forkpolicy.settings import load_settings
from tests.console.asking import Browser, SignedIn
from tests.console.changing import BAD, OTHER, PARTNER, Site
from tests.history_logs import NOON_S, begin, decision

FORGED = "sender=boss@example.com recipient=a@example.com client_address=198.51.100.7"
HOSTILE = "<script>alert(1)</script>\"'\u202e"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site with a browser; its server is the one of the site."""
    site = Site(tmp_path)
    parts = Parts(load_settings(str(site.settings)))
    monkeypatch.setattr(type(parts), "ask", lambda _self, *arguments: site.server.ask(*arguments))
    site.browser = Browser(application(parts, SignedIn()))
    site.parts = parts
    return site


def post(site, do, text, **form):
    """A button of the form of the page as it is now."""
    seen = site.browser.json("/change")["seen"]
    return site.browser.post("/change", {"do": do, "seen": seen, "text": text, "token": "token", **form})


def test_an_exception_from_the_editor_to_its_undo(site):
    """Each step by the buttons of the page."""
    page = site.browser.get("/change")
    assert "The console has no rule yet" in page.text
    checked = post(site, "check", PARTNER)
    assert (checked.status, "It can be applied." in checked.text) == (200, True)
    assert site.rules.read_text() == ""
    applied = post(site, "apply", PARTNER, note="for the partner")
    assert (applied.status, applied.headers["location"]) == (303, "/change/2?applied=1")
    change = site.browser.get("/change/2")
    assert "for the partner" in change.text
    assert "Undo this change" in change.text
    undone = site.browser.post("/change/2", {"note": "was wrong", "token": "token"})
    assert undone.headers["location"] == "/change/3?applied=1"
    assert site.rules.read_text() == ""
    assert site.browser.json("/change/2")["change"]["undone_by"] == 3
    assert "Undo this change" not in site.browser.get("/change/2").text
    assert [each["n"] for each in site.browser.json("/change")["changes"]] == [3, 2, 1]


def test_the_sentence_is_of_the_file(site):
    """A change that was refused has left nothing, and another program may have come afterwards."""
    post(site, "apply", PARTNER)
    site.server.replies = [ReloadReply(False, 1, ("not today",))]
    post(site, "apply", PARTNER + OTHER)
    assert "is as change 2 has left it" in site.browser.get("/change").text
    site.rules.write_text("# by hand\n")
    assert "another program than the console since change 2" in site.browser.get("/change").text


def test_mistakes_stand_at_their_lines(site):
    """And nothing is written."""
    answer = post(site, "apply", PARTNER + BAD)
    assert answer.status == 422
    assert re.search(r'data-line="3".*line 3, column 24', answer.text)
    assert "acl odd client_address nowhere" in answer.text
    assert site.rules.read_text() == ""


def test_a_check_alone_is_a_part_of_a_page(site):
    """As it is asked while somebody types."""
    answer = site.browser.post("/change/check", {"text": BAD, "token": "token"})
    assert (answer.status, "<html" in answer.text, "column 24" in answer.text) == (200, False, True)


def test_names_are_suggested(site):
    """At the cursor."""
    form = {"text": "access ins\n", "at": "10", "token": "token"}
    found = site.browser.post("/change/names", form, accept="application/json").json()
    assert (found["begin"], found["end"], found["names"]) == (7, 10, ["inside"])


def test_a_sample_is_explained_next_to_now(site):
    """And what cannot be a request is a mistake of the form."""
    answer = post(site, "explain", PARTNER, sample=FORGED)
    assert "The draft changes what becomes of it." in answer.text
    assert "REJECT 5.7.1 not as boss@example.com" in answer.text
    assert post(site, "explain", PARTNER, sample="hello").status == 422


def test_what_a_draft_would_have_changed(site, tmp_path):
    """The riskiest first, with links to each."""
    lines = [decision(code="0000frgd0000", client_address="198.51.100.7", sender="boss@example.com")]
    (tmp_path / "log.json").write_bytes(begin() + b"".join(lines))
    site.settings.write_text(site.settings.read_text() + '[history]\nlog = "log.json"\npath = "history"\n')
    ingester = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 3650, print, lambda: NOON_S)
    ingester.turn()
    ingester.close()
    parts = Parts(load_settings(str(site.settings)))
    site.browser = Browser(application(parts, SignedIn()))
    answer = post(site, "what-if", PARTNER, days="400")
    assert "/why/0000frgd0000" in answer.text
    assert "lets mail in" in answer.text
    assert "claims a domain of ours" in answer.text


def test_the_second_of_two_gets_both_changes(site):
    """And applies them, or what of the same lines is wanted."""
    seen = site.browser.json("/change")["seen"]
    post(site, "apply", PARTNER)
    answer = site.browser.post("/change", {"do": "apply", "seen": seen, "text": OTHER, "token": "token"})
    assert answer.status == 409
    assert "put lines in the same place" in answer.text
    seen = site.browser.json("/change")["seen"]
    post(site, "apply", PARTNER + OTHER)
    form = {"do": "apply", "seen": seen, "text": f"# first\n{PARTNER}", "token": "token"}
    found = site.browser.post("/change", form, accept="application/json").json()
    assert (found["is_merged"], found["text"]) == (True, f"# first\n{PARTNER}{OTHER}")
    post(site, "apply", found["text"])
    assert site.rules.read_text() == found["text"]


def test_an_undo_in_the_way_shows_three_texts(site):
    """And the change that is in the way."""
    post(site, "apply", PARTNER)
    post(site, "apply", PARTNER.replace(".7", ".8"))
    answer = site.browser.post("/change/2", {"token": "token"})
    assert answer.status == 409
    assert "change 3 has touched the same lines" in answer.text


def test_what_the_server_refuses_is_shown(site):
    """With its reason, and the draft is still there."""
    site.server.replies = [ReloadReply(False, 1, ("policy.conf:1:1: not today",))]
    answer = post(site, "apply", PARTNER)
    assert (answer.status, "not today" in answer.text, "acl partner" in answer.text) == (409, True, True)


def test_lines_of_what_if_come_into_the_editor(site):
    """By the address, and nothing is written."""
    answer = site.browser.get("/change?add=acl+partner+client_address+198.51.100.7%0Aaccess+partner")
    assert "It can be applied." in answer.text
    assert "access partner\n</textarea>" in answer.text
    assert site.rules.read_text() == ""


def test_a_policy_without_a_rule_file_says_what_to_add(site):
    """And is read only."""
    policy = site.settings.with_name("policy.conf")
    policy.write_text(policy.read_text().replace("include", "# include"))
    answer = site.browser.get("/change")
    assert (answer.status, "rules.conf restricted" in answer.text, "<textarea" in answer.text) == (200, True, False)
    assert post_status(site) == 503


def post_status(site):
    """Of an apply where there is nothing to apply to."""
    return site.browser.post("/change", {"do": "apply", "seen": "", "text": "x", "token": "token"}).status


def test_hostile_values_are_text(site):
    """In rules, notes, samples and diagnostics."""
    pages = [
        post(site, "apply", f"# {HOSTILE}\n", note=HOSTILE),
        site.browser.get("/change"),
        site.browser.get("/change/2"),
        post(site, "check", f"acl {HOSTILE}\nwhat {HOSTILE}\n"),
        post(site, "explain", PARTNER, sample=FORGED.replace("boss", HOSTILE.replace("'", ""))),
    ]
    for page in pages:
        assert "<script>alert" not in page.text
        assert "\u202e" not in re.sub(r"<textarea.*?</textarea>", "", page.text, flags=re.DOTALL)


def test_only_administrators_change(site):
    """Others see no such page."""
    browser = Browser(application(site.parts, SignedIn(Role.OPERATOR)))
    assert browser.get("/change").status == 403
    assert browser.post("/change", {"do": "apply", "token": "token"}).status == 403


@pytest.mark.parametrize("n", ["0", "99", "x", "1e3", "²"])
def test_there_is_no_such_change(site, n):
    """Says so."""
    assert site.browser.get(f"/change/{n}").status == 404


def test_earlier_changes_are_a_page_away(site):
    """By a cursor."""
    for number in range(25):
        site.apply(f"# {number}\n")
    first = site.browser.json("/change")
    assert len(first["changes"]) == 20
    second = site.browser.json(first["more"])
    assert [each["n"] for each in second["changes"]] == list(range(first["changes"][-1]["n"] - 1, 0, -1))
    assert json.dumps(second["more"]) == '""'
