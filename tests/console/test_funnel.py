"""The page Funnel: what rules stopped from the history, everything else from Postfix's log, and what each cost."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.errors import NotRunningError
from forkpolicy.gateway.domains import Domain
from forkpolicy.gateway.setup.place import GatewayPlace
from forkpolicy.gateway.setup.policy_text import POLICY_FILE, policy_files
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.mail_log.files import LogFiles
from forkpolicy.history.store import Store
from forkpolicy.settings import load_settings
from tests.console.asking import Browser, SignedIn
from tests.console.held import TEXT, HeldStore
from tests.history_logs import NOON_S, begin, decision, new_id
from tests.statuses import status, worker

LATE = """\
acl no_name client_name unknown
action hold_it FILTER quarantine:unix:private/store
access late no_name hold_it
"""
UNDELIVERABLE = (
    "550 5.1.1 <n@example.com>: Recipient address rejected: undeliverable address: no; "
    "from=<a@example.org> to=<n@example.com> proto=ESMTP helo=<x>"
)
DELIVERED = "to=<alice@example.com>, relay=192.0.2.5[192.0.2.5]:25, delay=3.1, delays=3/0.1/0.02/0.03, dsn=2.0.0,"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The shipped policy of a gateway with one late rule, decisions of it, a mail log, and a server's report."""

    class Site:
        is_running = True

        def __init__(self):
            domains = [Domain("example.com", "relay:[192.0.2.5]:25")]
            place = GatewayPlace(console_tables=str(tmp_path))
            text = policy_files(domains, place)[POLICY_FILE] + LATE
            self.policy = tmp_path / "policy.conf"
            self.policy.write_text(text)
            self.log = tmp_path / "mail.log"
            (tmp_path / "forkpolicy.toml").write_text(
                'policy = "policy.conf"\n'
                f'[history]\nlog = "log.json"\npath = "history"\nmail_log = "{self.log}"\n[console]\npath = "console"\n'
            )
            (tmp_path / "console").mkdir()

        def line_of(self, text):
            """Where a line of the policy is."""
            lines = self.policy.read_text().splitlines()
            return f"{self.policy}:{lines.index(text) + 1}"

        def take(self, *lines):
            (tmp_path / "log.json").write_bytes(begin() + b"".join(lines))
            ingester = Ingester(
                str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 3650, print, lambda: NOON_S
            )
            ingester.turn()
            ingester.close()

        def write_log(self, *lines):
            self.log.write_text("".join(f"{at_s:.6f} mx {text}\n" for at_s, text in lines))
            os.utime(self.log, (NOON_S, NOON_S))

        def browser(self, role=Role.OPERATOR):
            parts = Parts(load_settings(str(tmp_path / "forkpolicy.toml")))
            parts.rules._counts._clock = parts.stages._clock = lambda: NOON_S
            parts.stages._open = lambda: LogFiles(str(self.log), NOON_S)
            monkeypatch.setattr(parts, "status", self.look)
            monkeypatch.setattr("forkpolicy.console.app.time.time", lambda: NOON_S)
            return Browser(application(parts, SignedIn(role)))

        def look(self):
            if not self.is_running:
                raise NotRunningError("no server runs in this test")
            busy = worker()
            counters = replace(busy.counters, requests=1000, cpu_ns=50_000_000)
            return status(replace(busy, counters=counters))

    return Site()


def fired(site, text, action, acls, at_s=NOON_S - 60, times=1):
    """Decisions of a rule."""
    one = json.loads(decision(at_s, rule=site.line_of(text), action=action)) | {"acls": acls}
    return [json.dumps(one | {"id": new_id()}).encode() + b"\n" for _ in range(times)]


FOUNDING = "access front !from_inside from_us to_us prove_it"
HOLDING = "access late no_name hold_it"
STAYS = "access held stays"


def decided(site):
    """Three refusals in the last hour and two yesterday, one mail sent to the store, and what the store asked."""
    return [
        *fired(site, FOUNDING, "REJECT 5.7.1 no", "front !from_inside from_us to_us", NOON_S - 20 * 3600, 2),
        *fired(site, FOUNDING, "REJECT 5.7.1 no", "front !from_inside from_us to_us", times=3),
        *fired(site, HOLDING, "FILTER quarantine:unix:private/store", "late no_name"),
        *fired(site, STAYS, "HOLD", "held"),
    ]


def test_each_stage_says_what_it_stopped_and_cost(site):
    """Rules by the places at which they are asked, the store's questions at none of them."""
    site.take(*decided(site))
    site.write_log(
        (NOON_S - 50, f"postfix/smtpd[7]: NOQUEUE: reject: RCPT from x[203.0.113.9]: {UNDELIVERABLE}"),
        (NOON_S - 40, f"postfix/smtp[7]: 4jcgch5wp8zMpZ7: {DELIVERED} status=sent (250 2.0.0 Ok)"),
    )
    found = site.browser().json("/funnel")
    rows = {each["stage"]: each for each in found["stages"]}
    assert list(rows) == ["addresses", "front", "verification", "late", "scanner", "store", "delivery"]
    assert (rows["front"]["refused"], rows["front"]["held"], rows["front"]["each_s"]) == (5, 0, 50e-6)
    assert (rows["late"]["refused"], rows["late"]["held"]) == (0, 1)
    assert (rows["verification"]["refused"], rows["scanner"]["held"], rows["store"]["held"]) == (1, 0, 0)
    assert (rows["delivery"]["passed"], rows["delivery"]["each_s"], rows["delivery"]["asked"]) == (1, 0.05, 1)
    assert found["sentence"] == (
        "Stopped in the last 24 hours: front rules 5, verification 1, late rules 1. "
        "Held for 0 recipients, delivered to 1."
    )
    assert [(each["stage"], each["result"], each["count"]) for each in found["rules"]] == [
        ("front", "refused", 5),
        ("late", "held", 1),
    ]
    assert site.browser().json("/funnel?span=1h")["stages"][1]["refused"] == 3
    assert site.browser().json("/funnel?span=30d")["stages"][1]["refused"] == 5
    page = site.browser().get("/funnel")
    assert (page.status, "50 µs" in page.text, "50.0 ms" in page.text) == (200, True, True)
    table = site.browser().get("/funnel?format=csv").text.splitlines()
    assert table[0] == "stage,unit,refused,deferred,held,passed,cost,each_s,asked,all_s"
    assert table[2].startswith("front,recipients,5,0,0,,")


def test_a_log_of_whole_seconds_does_not_say_how_long_few_scans_took(site):
    """Unknown, not nothing; of a hundred mails the mean is worth something."""
    lines = [
        (NOON_S - 900 + number + (later if number % 4 == 0 else 0), text)
        for number in range(120)
        for later, text in (
            (0, f"postfix/smtpd[7]: 4jcgch5wp8zMpZ{number:03}: client=x[203.0.113.9]"),
            (0, f"postfix/cleanup[7]: 4jcgch5wp8zMpZ{number:03}: message-id=<1@example.org>"),
            (1, f"postfix/qmgr[7]: 4jcgch5wp8zMpZ{number:03}: from=<a@example.org>, size=3, nrcpt=1 (queue active)"),
        )
    ]
    for count, each_s in ((30, None), (len(lines), 0.25)):
        site.write_log(*lines[:count])
        scanner = site.browser().json("/funnel")["stages"][4]
        assert (scanner["stage"], scanner["passed"], scanner["each_s"]) == ("scanner", count // 3, each_s)


def test_what_waits_in_the_store_is_said(site, tmp_path):
    """By a real store, where the console has one; one that does not answer is a notice."""
    (tmp_path / "held").mkdir()
    with HeldStore(tmp_path / "held") as held:
        held.hold(TEXT, "anna@example.com", "bob@example.com")
        settings = tmp_path / "forkpolicy.toml"
        settings.write_text(f'{settings.read_text()}gateway = "{held.store.settings}"\n')
        found = site.browser().json("/funnel")["store"]
        assert (found["held"], found["releasing"]) == ({"spam": 2}, 0)
        assert "In the store now: 2 by spam; 0 MiB stored, " in site.browser().get("/funnel").text
    page = site.browser().get("/funnel")
    assert "the store: " in page.text
    assert "In the store now" not in page.text


def test_what_is_not_known_is_not_zero(site):
    """Without server, history and mail log each says why."""
    site.is_running = False
    page = site.browser().get("/funnel")
    assert "mail.log cannot be read" in page.text
    assert "no server runs in this test" in page.text
    found = site.browser().json("/funnel")
    known = [each[result] for each in found["stages"] for result in each["has"] if each[result] is not None]
    assert known == []
    assert found["sentence"].startswith("Nothing is known to be stopped in the last 24 hours; unknown: addresses, ")
    assert found["rules"] is None


def test_another_span_is_a_mistake(site):
    """With what was expected."""
    answer = site.browser().get("/funnel?span=2h")
    assert (answer.status, "expected one of 1h, 24h, 30d" in answer.text) == (422, True)


def test_who_sees_no_server_sees_no_funnel(site):
    """A user of a domain."""
    assert site.browser(Role.USER).get("/funnel").status == 403
