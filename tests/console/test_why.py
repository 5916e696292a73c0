"""Why: then and now, as far as they are known; the mail; and that others see their own mail in plain words."""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.console.why.plain import own_terms
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.store import Store
from forkpolicy.policy.policy import Policy
from forkpolicy.settings import load_settings
from tests.console.asking import Browser, SignedIn
from tests.history_logs import NOON_S
from tests.history_sites import POLICY, Site

HOST = socket.gethostname()
OF_DOMAIN = {"domains": frozenset({"example.com"})}
USER = {"addresses": frozenset({"b@example.com"})}
OTHER_RULE = POLICY.replace("access bad", "action later 450 4.7.1 later\naccess inside later\naccess bad")


class Answered(Site):
    """A site whose history has one decision, and a console for it."""

    def __init__(self, folder, policy=POLICY, **attributes):
        super().__init__(folder, policy)
        raw = self.decide(host=HOST, client_name="mail.example.org", sasl_username="", **attributes)
        self.code = json.loads(raw)["id"]
        self.append(raw)
        ingester = Ingester(str(self.log), Store(str(self.history)), 3650, print, lambda: NOON_S, keeper=self.keeper())
        ingester.turn()
        ingester.close()
        mail_log = folder / "mail.log"
        mail_log.write_text("")
        with self.settings.open("a") as settings:
            settings.write(f'[history]\npath = "{self.history}"\nmail_log = "{mail_log}"\n')

    def browser(self, role=Role.ADMIN, **account):
        """One who has signed in."""
        return Browser(application(Parts(load_settings(str(self.settings))), SignedIn(role, **account)))


@pytest.fixture
def site(tmp_path):
    """Its decision refused spam@example.org."""
    return Answered(tmp_path, OTHER_RULE)


def test_the_rule_is_shown_with_what_each_term_said(site):
    """And the entry with its line, the rules before it, and the lines around it."""
    found = site.browser().json(f"/why/{site.code}")
    rule = found["then"]["rule"]
    assert [(each["text"], each["answer"]) for each in rule["parts"]] == [
        ("access", ""),
        ("bad", "met"),
        ("!inside", "met"),
        ("no", ""),
    ]
    assert rule["terms"][0]["entry"] == {
        "key": "spam@example.org",
        "value": None,
        "table": "blocked",
        "source": f"{site.folder}/blocked.txt:1",
    }
    (before,) = found["then"]["before"]
    assert [each["answer"] for each in before["parts"]] == ["", "not_met", ""]
    assert [each["text"] for each in found["policy_text"] if each["is_rule"]] == ["access bad !inside no"]
    assert found["now"]["is_same"]
    page = site.browser().get(f"/why/{site.code}")
    assert page.status == 200
    assert f"Refused by {site.folder}/policy.conf:8: bad and not inside." in page.text
    assert "The client mail.example.org [203.0.113.5] wanted to send mail from spam@example.org to" in page.text
    assert "1 rule tried before it" in page.text
    assert f"forkpolicy history show {site.code}" in page.text
    assert "/decisions?q=from%3A%40example.org" in page.text
    assert "/decisions?q=client%3A203.0.113.0%2F24" in page.text


def test_now_stands_next_to_then_where_they_differ(site):
    """With what makes the difference."""
    site.write("blocked.txt", "other@example.org\n")
    site.compile()
    found = site.browser().json(f"/why/{site.code}")
    assert not found["now"]["is_same"]
    assert found["now"]["action"] == "DUNNO"
    (difference,) = found["now"]["differences"]
    assert "spam@example.org was an entry of" in difference["text"]
    assert "and is not one now" in site.browser().get(f"/why/{site.code}").text


def test_without_the_versions_the_log_speaks(site):
    """And it is said why."""
    shutil.rmtree(site.history / "versions")
    found = site.browser().json(f"/why/{site.code}")
    assert found["then"] is None
    assert found["recorded"]["terms"][0].startswith("bad: spam@example.org (")
    page = site.browser().get(f"/why/{site.code}").text
    assert "are not at hand" in page
    assert "table blocked" in page


def test_a_policy_that_fails_now_is_said(site):
    """The rest of the page stays."""
    site.write("policy.conf", "nonsense\n")
    page = site.browser().get(f"/why/{site.code}")
    assert page.status == 200
    assert "fails to load" in page.text


def test_the_same_policy_is_loaded_once(site):
    """The second question is answered from what is open."""
    parts = Parts(load_settings(str(site.settings)))
    asked = Browser(application(parts, SignedIn()))
    assert asked.json(f"/why/{site.code}")["then"] is not None
    shutil.rmtree(site.history / "versions")
    assert asked.json(f"/why/{site.code}")["then"] is not None


@pytest.mark.parametrize("account", [(Role.DOMAIN, OF_DOMAIN), (Role.USER, USER)])
def test_others_see_their_own_mail_in_plain_words(site, account):
    """No file, no rule, no table, no other policy; their own values alone."""
    role, scope = account
    asked = site.browser(role, **scope)
    answer = asked.get(f"/why/{site.code}")
    assert answer.status == 200
    assert "This mail was refused with: 5.7.1 not you" in answer.text
    spanish = asked.get(f"/why/{site.code}", accept_language="es").text
    assert "Este correo se rechazó con: 5.7.1 not you" in spanish
    for text in (answer.text, spanish, asked.get(f"/why/{site.code}", accept="application/json").text):
        assert "policy.conf" not in text
        assert "blocked.txt" not in text
        assert "forkpolicy history" not in text
        assert HOST not in text
    found = asked.json(f"/why/{site.code}")
    assert [(each["text"], each["says"], each["entry"]) for each in found["terms"]] == [
        ("bad", "holds", "spam@example.org"),
        ("inside", "does not hold", ""),
    ]
    assert not {"then", "now", "rule", "host", "policy_text", "recorded"} & found.keys()


def test_whom_a_mail_was_copied_to_is_not_said(tmp_path):
    """That is an address of somebody else."""
    site = Answered(tmp_path, POLICY.replace("REJECT 5.7.1 not you", "BCC archive@inside.example"))
    for role, scope in ((Role.DOMAIN, OF_DOMAIN), (Role.USER, USER)):
        asked = site.browser(role, **scope)
        assert asked.json(f"/why/{site.code}")["action"] == "BCC"
        assert "inside.example" not in asked.get(f"/why/{site.code}").text
    assert "archive@inside.example" in site.browser().get(f"/why/{site.code}").text


@pytest.mark.parametrize(
    ("term", "entry"),
    [
        ({"acl": "bad", "entry": "spam@example.org", "table": "t", "source": "f:1"}, "spam@example.org"),
        ({"acl": "bad", "entry": ".example.org"}, ".example.org"),
        ({"acl": "net", "entry": "203.0.113.0/24"}, "203.0.113.0/24"),
        ({"acl": "net", "entry": "192.0.2.0/24"}, ""),
        ({"acl": "boss", "entry": "boss@example.com"}, ""),
        ({"acl": "any", "by": {"acl": "bad", "entry": "b@example.com"}}, "b@example.com"),
        ({"acl": "words", "found": "secret", "line": "policy.conf:3"}, ""),
    ],
)
def test_an_entry_of_others_is_not_shown(term, entry):
    """What a table has beyond the mail itself stays there."""
    request = {"client_address": "203.0.113.5", "sender": "spam@example.org", "recipient": "b@example.com"}
    (shown,) = own_terms([term], request)
    assert shown == {"text": term["acl"], "says": "holds", "entry": entry}


@pytest.mark.parametrize(
    "account", [(Role.DOMAIN, {"domains": frozenset({"example.org"})}), (Role.USER, {}), (Role.DOMAIN, {})]
)
@pytest.mark.parametrize("page", ["", "/mail"])
def test_that_of_others_is_not_there(site, account, page):
    """As if there were none: the sender's domain is not the recipient's."""
    role, scope = account
    answer = site.browser(role, **scope).get(f"/why/{site.code}{page}")
    none = site.browser().get(f"/why/zzzzzzzzzzzz{page}")
    assert answer.status == none.status == 404


@pytest.mark.parametrize("wanted", ["x", "<script>", "zzzzzzzzzzzz", "%00", "..%2f.."])
def test_no_decision(site, wanted):
    """A sentence."""
    assert site.browser().get(f"/why/{wanted}").status == 404


def test_its_mail_by_the_log_of_postfix(tmp_path):
    """A part for the page, and a page of its own; others see their recipients alone."""
    site = Answered(tmp_path, queue_id="4F2A0C1B2D")
    sent = "relay=inner.example.net[10.0.0.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)"
    log = [
        "postfix/smtpd[7]: 4F2A0C1B2D: client=mail.example.org[203.0.113.5]",
        "postfix/qmgr[8]: 4F2A0C1B2D: from=<spam@example.org>, size=9, nrcpt=2 (queue active)",
        f"postfix/smtp[9]: 4F2A0C1B2D: to=<b@example.com>, {sent}",
        f"postfix/smtp[9]: 4F2A0C1B2D: to=<c@example.net>, {sent}",
    ]
    (tmp_path / "mail.log").write_text("".join(f"2026-11-28T12:00:00+00:00 mx1 {line}\n" for line in log))
    whole = site.browser().json(f"/why/{site.code}/mail")
    assert {each["recipient"] for each in whole["mails"]} == {"b@example.com", "c@example.net"}
    part = site.browser().get(f"/why/{site.code}/mail", hx_request="true").text
    assert "<html" not in part
    assert "inner.example.net" in part
    assert "b@example.com" in site.browser().get(f"/why/{site.code}/mail").text
    own = site.browser(Role.DOMAIN, **OF_DOMAIN).get(f"/why/{site.code}/mail").text
    assert "b@example.com" in own
    assert "c@example.net" not in own
    assert "inner.example.net" not in own


def test_pages_leave_no_policies_behind(site):
    """A policy that is loaded for a page has circles, and stays until the collector comes: the one that is kept serves
    all of them.
    """
    for path in (each for each in site.folder.iterdir() if each.is_file()):
        # What was written a moment ago is not kept: it may change within a tick of the clock.
        os.utime(path, (NOON_S, NOON_S))
    browser = site.browser()
    assert browser.get(f"/why/{site.code}").status == 200
    gc.collect()
    gc.disable()
    try:
        before = _policies()
        for _ in range(3):
            assert browser.get(f"/why/{site.code}").status == 200
        assert _policies() == before
    finally:
        gc.enable()


def _policies():
    return sum(isinstance(each, Policy) for each in gc.get_objects())
