"""What is remembered, as the page State shows it: limits near their bound, greylisting, one key, forgetting."""

from __future__ import annotations

import shlex
import shutil
import time
from contextlib import closing
from dataclasses import replace

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.console.state import remembered
from forkpolicy.console.state.funnel import Funnel, funnels
from forkpolicy.control_messages import StateReply
from forkpolicy.errors import NotRunningError
from forkpolicy.settings import load_settings
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.questions.listed import Remember
from forkpolicy.status import AskedStatus, StateFigures, StateStatus
from loadtest.clients.policy_client import PolicyClient
from tests.console.asking import Browser, SignedIn
from tests.process.conftest import FORGED, folder, make_server  # noqa: F401 - fixtures
from tests.process.waiting import eventually
from tests.statuses import status, worker
from tests.stores import greylisting, make_map, rate

POLICY = """\
acl busy rate {sasl_username} 10/1h 100/1d
acl grey greylisting
action slow DEFER_IF_PERMIT slow down
access busy slow
access grey slow
"""
HOSTILE = '"><script>alert(1)</script>\u202e'


def used(key, **more):
    """A question to the limits of the policy."""
    return rate((10, 3600), (100, 86400), key=(key,), counting="messages", **more)


class Site:
    """A map with records, a policy with limits, a server that is a document."""

    def __init__(self, folder, role=Role.ADMIN):  # noqa: F811
        (folder / "policy.conf").write_text(POLICY)
        settings = folder / "forkpolicy.toml"
        settings.write_text(f'policy = "policy.conf"\n[state]\nlive = "{folder}/live"\n[console]\npath = "{folder}"\n')
        make_map(folder / "live", time.time).close()
        self.parts = Parts(load_settings(settings))
        self.asked = AskedStatus({"greylisting grey new": 5, "greylisting grey early": 2, "greylisting grey passed": 3})
        self.running = True
        self.parts.now.looks._look = self.look
        self.browser = Browser(application(self.parts, SignedIn(role)))

    def remember(self, *questions):
        """As a worker does it."""
        with closing(LiveMap.open(self.parts.settings.state.live)) as store:
            for each in questions:
                store.ask(each)

    def look(self):
        if not self.running:
            raise NotRunningError("no master is running there")
        state = StateStatus("live", "kept", True, StateFigures(1000, 4000, 7), 1.5)
        return status(replace(worker(), asked=self.asked), state=state)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_key_near_its_limit_is_shown(site):
    """From 80 % on, in the window of that limit."""
    site.remember(*[used("anna@example.com")] * 8, *[used("bert@example.com")] * 7)
    (near,) = site.browser.json("/state")["near"]
    assert (near["name"], near["key"], near["used"], near["limit"], near["window"]) == (
        "busy",
        ["anna@example.com"],
        8,
        10,
        "1h",
    )
    page = site.browser.get("/state")
    assert "1 key is near a limit, 0 greylisted triplets wait." in page.text
    assert "/state?name=busy&amp;key=anna%40example.com" in page.text


def test_what_greylisting_did_is_shown(site):
    """With those that gave up: they came, and neither passed nor wait."""
    site.remember(greylisting())
    data = site.browser.json("/state")
    assert data["waiting"] == 1
    assert data["funnels"] == [{"name": "grey", "new": 5, "early": 2, "passed": 3, "known": 0, "auto": 0, "gave_up": 1}]


def test_who_gave_up_is_unknown_where_it_cannot_be_known():
    """More wait than came, nobody knows who waits, or several ACLs have them."""
    grey = {"greylisting grey new": 1}
    assert funnels(grey, 2) == [Funnel("grey", new=1)]
    assert funnels(grey, None) == [Funnel("grey", new=1)]
    assert [each.gave_up for each in funnels({**grey, "greylisting other new": 9}, 0)] == [None, None]
    assert funnels({"rate busy over": 3}, 0) == []


def test_a_look_at_many_records_ends_and_says_so(site, monkeypatch):
    """Figures of a part are of a part."""
    monkeypatch.setattr(remembered, "MOST_LOOKED_AT", 10)
    site.remember(*(Remember("seen", (f"{number}@example.com",), 600) for number in range(20)))
    page = site.browser.get("/state")
    assert "among the first records of each kind" in page.text
    assert "the first 10 records were looked at" in page.text
    assert len(site.browser.get("/state?format=csv").text.splitlines()) == 21


def test_one_key_is_shown_and_forgotten_with_a_reason(site, monkeypatch):
    """By the control socket; without a reason, or without a key, nothing is."""
    asked = []
    monkeypatch.setattr(site.parts, "ask", lambda _kind, command, _s: asked.append(command) or StateReply(True, 2))
    site.remember(used("anna@example.com"))
    page = site.browser.get("/state?name=busy&key=anna%40example.com")
    assert "1 record of busy anna@example.com." in page.text
    assert "forkpolicy state show busy anna@example.com" in page.text
    form = {"name": "busy", "key": "anna@example.com", "reason": ""}
    assert site.browser.post("/state/forget", form).status == 422
    assert site.browser.post("/state/forget", {**form, "key": "", "reason": "a call"}).status == 422
    assert not asked
    assert site.parts.audit.find() == []
    done = site.browser.post("/state/forget", {**form, "reason": "a call"})
    assert (done.status, done.headers["location"]) == (303, "/state?name=busy&key=anna%40example.com&done=2")
    assert asked == [{"command": "state-reset", "name": "busy", "key": ("anna@example.com",)}]
    (entry,) = site.parts.audit.find()
    said = (entry.who, entry.client, entry.what, entry.about, entry.reason)
    assert said == ("anna", "192.0.2.7", "forgotten", "busy anna@example.com", "a call")
    assert "2 records were forgotten" in site.browser.get(done.headers["location"]).text


def test_an_operator_looks_and_forgets_nothing(tmp_path):
    """Neither by the button nor without it."""
    site = Site(tmp_path, Role.OPERATOR)
    site.remember(used("anna@example.com"))
    page = site.browser.get("/state?name=busy&key=anna%40example.com")
    assert page.status == 200
    assert "/state/forget" not in page.text
    form = {"name": "busy", "key": "anna@example.com", "reason": "x"}
    assert site.browser.post("/state/forget", form).status == 403


def test_hostile_keys_are_text_and_lead_to_themselves(site):
    """Quoted in links, visible in the page."""
    site.remember(used(HOSTILE, amount=9))
    page = site.browser.get("/state")
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text
    address = page.text.partition('href="/state?name=busy&amp;key=')[2].partition('"')[0]
    assert "1 record" in site.browser.json(f"/state?name=busy&key={address}")["sentence"]


def test_without_server_or_map_nothing_is_zero(site):
    """What can be read is shown."""
    site.running = False
    page = site.browser.get("/state")
    assert page.status == 200
    assert "What greylisting did cannot be known now." in page.text
    shutil.rmtree(site.parts.settings.state.live)
    assert site.browser.json("/state")["sentence"] == "What is remembered cannot be known now."


def test_at_a_real_server(make_server, tmp_path):  # noqa: F811
    """Counts of its workers, and forgetting by its control socket."""
    server = make_server()
    server.write_policy(POLICY)
    server.start()
    settings = load_settings(str(server.settings))
    parts = Parts(replace(settings, console=replace(settings.console, path=str(tmp_path))))
    browser = Browser(application(parts, SignedIn()))
    with PolicyClient(server.socket_path) as client:
        client.ask(FORGED)
    eventually(lambda: [each["new"] for each in browser.json("/state")["funnels"] or []] == [1])
    assert browser.json("/state")["waiting"] == 1
    (record,) = browser.json("/state?name=grey")["records"]
    form = {"name": "grey", "key": shlex.join(record["key"]), "reason": "a test"}
    assert browser.post("/state/forget", form).headers["location"].endswith("&done=1")
    assert browser.json("/state?name=grey")["records"] == []
