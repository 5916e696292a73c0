"""Where is my mail, with the whole gateway: what became of mail, by everything that people know of it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.settings import load_settings
from loadtest.servers import rspamd
from loadtest.servers.gateway_site import FRIEND, GatewaySite
from loadtest.servers.postfix import missing, traversable_directory
from tests.console.asking import Browser, SignedIn
from tests.gateway.test_site import DATABASE, DEADLINE_S, send
from tests.process.waiting import eventually

pytestmark = [
    pytest.mark.skipif(bool(missing() or rspamd.missing()), reason=missing() or rspamd.missing() or "both are there"),
    pytest.mark.timeout(400),  # the first start of rspamd
]

# What GTUBE of rspamd makes a milter refuse.
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
ALICE = {"addresses": frozenset({"alice@example.com"})}
SOON_S = 5
CLIENT = "203.0.113.77"


@pytest.fixture(scope="module")
def site():
    """A gateway with a history and what fills it, once for this file."""
    DATABASE.mkdir(parents=True, exist_ok=True)
    with traversable_directory() as base:
        running = GatewaySite(base, DATABASE)
        (base / "history").mkdir()
        settings = running.policy.settings
        settings.write_text(
            f'{settings.read_text()}\n[history]\nlog = "{base}/decisions.json"\npath = "{base}/history"\n'
            f'decisions = "all"\nmail_log = "{running.place.mail_log}"\n'
            f'[console]\npath = "{base}/console"\ngateway = "{base}/gateway.toml"\npostfix = "{running.postfix.etc}"\n'
        )
        with running:
            command = [sys.executable, "-m", "forkpolicy", "history", "-c", str(settings), "ingest"]
            ingester = subprocess.Popen(command)
            try:
                for user in ("alice", "bob"):
                    eventually(lambda user=user: send(running, f"probe@{FRIEND}", [user])[user][0] == 250, DEADLINE_S)
                yield running
            finally:
                ingester.send_signal(signal.SIGTERM)
                ingester.wait()


@pytest.fixture(scope="module")
def parts(site):
    """Those of one console."""
    return Parts(load_settings(site.policy.settings))


@pytest.fixture
def admin(parts):
    """An administrator."""
    return Browser(application(parts, SignedIn()))


def of(parts, role=Role.USER, **account):
    """Somebody else; alice, unless it is said."""
    return Browser(application(parts, SignedIn(role, **(account or ALICE))))


def mails(browser, **query):
    """What the page knows of."""
    words = "&".join(f"{name.rstrip('_')}={value}".replace("+", "%2B") for name, value in query.items())
    return browser.json(f"/mail?{words}")["mails"]


def stages(mail):
    """Of its timeline, each once."""
    return list(dict.fromkeys(each["stage"] for each in mail["events"]))


def logged(site, text):
    """When Postfix's log has a line with a text, by the monotonic clock."""
    eventually(lambda: text in site.postfix.log_text(), DEADLINE_S)
    return time.monotonic()


def found_soon(since_s, browser, **query):
    """The mail that is found with its decision, within five seconds of its line."""
    (found,) = eventually(lambda: [each for each in mails(browser, **query) if stages(each) == ["decision"]], SOON_S)
    assert time.monotonic() - since_s < SOON_S
    return found


@pytest.mark.alone
def test_a_recipient_that_a_rule_refused_is_found_by_everything(site, admin):
    """By recipient, sender and client within five seconds of its line; Why names the line and the entry."""
    sender = "refused@example.com"
    assert send(site, sender, ["alice"], client=CLIENT)["alice"][0] == 554
    since_s = logged(site, f"from=<{sender}>")
    for query in ({"from": sender}, {"to": "alice@example.com", "from": sender}, {"q": f"client:{CLIENT}"}):
        found = found_soon(since_s, admin, **query)
        assert (found["sender"], found["recipient"], found["state"]) == (sender, "alice@example.com", "refused")
    (event,) = found["events"]
    assert event["text"] == "The rules refused it: 5.7.1 Authentication required to send as example.com"
    why = admin.json(event["link"])
    assert re.search(r"/gateway\.conf:\d+$|/policy\.conf:\d+$", why["then"]["rule"]["where"])
    entries = [each["entry"] for each in why["then"]["rule"]["terms"] if each["entry"]]
    assert "example.com" in {each["key"] for each in entries}
    assert all(re.search(r":\d+$", each["source"]) for each in entries)


@pytest.mark.alone
def test_a_recipient_that_the_backend_does_not_know_is_found_by_everything(site, admin):
    """Also the second one of a mail that was accepted for another: then the line has its queue id."""
    sender, client = "unknown@example.org", "203.0.113.78"
    eventually(lambda: send(site, sender, ["alice", "nobody"], client=client)["nobody"][0] == 550, DEADLINE_S)
    since_s = logged(site, "550 5.1.1 <nobody@example.com>")
    for query in ({"to": "nobody@example.com"}, {"to": "nobody@example.com", "q": f"client:{client}"}):
        found = eventually(lambda query=query: mails(admin, **query), SOON_S)[0]
        assert time.monotonic() - since_s < SOON_S
        assert (found["sender"], found["state"]) == (sender, "refused")
        assert "User unknown" in found["events"][-1]["text"]
    by_sender = {each["recipient"]: each["state"] for each in mails(admin, **{"from": sender})}
    assert by_sender["nobody@example.com"] == "refused"


def test_a_mail_that_arrived_is_followed_to_the_backend(site, admin):
    """Taken, given on; and by its queue id, too."""
    send(site, "news@example.org", ["alice"], subject="arrives")
    (found,) = eventually(lambda: delivered(admin, "news@example.org"), DEADLINE_S)
    assert stages(found) == ["decision", "queue", "delivery"]
    (queue_id,) = found["queue_ids"]
    for query in ({"q": queue_id}, {"q": f"queue:{queue_id}"}):
        assert mails(admin, **query) == [{**found, "events": mails(admin, **query)[0]["events"]}]


def delivered(browser, sender):
    """Mails of a sender, once all are delivered and the history has their decisions."""
    found = mails(browser, **{"from": sender})
    is_whole = all(each["state"] == "delivered" and "decision" in stages(each) for each in found)
    return found if is_whole else []


def test_spam_is_followed_through_the_store_to_its_delivery(site, admin, parts):
    """Decision, queue, scan, store, release, delivery, in this order; each recipient has a mail of its own."""
    sender = "shop@example.org"
    send(site, sender, ["alice", "bob"], rspamd.SPAM_WORD, "followed")
    eventually(lambda: [each["state"] for each in mails(admin, **{"from": sender})] == ["held", "held"], DEADLINE_S)
    alices = next(each for each in mails(admin, **{"from": sender}) if each["recipient"].startswith("alice"))
    assert site.store.ask("release", str(alices["held"])).returncode == 0
    whole = ["decision", "queue", "scan", "store", "delivery"]
    found = eventually(lambda: [each for each in mails(admin, **{"from": sender}) if stages(each) == whole], 60)[0]
    assert found["state"] == "delivered"
    assert found["subject"] == "followed"
    assert len(found["queue_ids"]) == 2
    text = "\n".join(each["text"] for each in found["events"])
    assert text.index("took it from") < text.index("points") < text.index("Held.") < text.index("Released by")
    assert text.index("Released by") < text.index("Delivered: 250")
    for queue_id in found["queue_ids"]:
        assert "alice@example.com" in {each["recipient"] for each in mails(admin, q=queue_id)}
    own = mails(of(parts), **{"from": sender})
    assert [(each["recipient"], each["state"]) for each in own] == [("alice@example.com", "delivered")]


def test_what_the_scanner_refused_is_refused(site, admin):
    """At the end of the mail, by a milter."""
    assert send(site, "gtube@example.org", ["alice"], GTUBE)["alice"][0] == 554
    (found,) = eventually(lambda: mails(admin, **{"from": "gtube@example.org"}), SOON_S)
    assert (found["state"], found["events"][-1]["text"]) == (
        "refused",
        "The mail server refused it: 5.7.1 Gtube pattern",
    )


def test_everybody_finds_own_mail_alone(site, parts):
    """By recipient, sender, client, queue id and pasted line: of others there is nothing, not even their names."""
    sender = "two@example.org"
    send(site, sender, ["alice", "bob"], rspamd.SPAM_WORD, "for-two")
    admin = of(parts, Role.ADMIN, domains=frozenset())
    every = eventually(lambda: two_held(admin, sender), DEADLINE_S)
    queue_id = every[0]["queue_ids"][0]
    line = next(each for each in site.postfix.log_text().splitlines() if f"{queue_id}: to=<bob@example.com>" in each)
    asked = ({"from": sender}, {"q": queue_id}, {"to": "bob@example.com"}, {"q": "client:203.0.113.9"}, {})
    for browser in (of(parts), of(parts, Role.DOMAIN, domains=frozenset({"example.net"}))):
        for query in asked:
            answer = browser.get(f"/mail?{'&'.join(f'{name}={value}' for name, value in query.items())}")
            assert answer.status == 200
            assert "bob@example.com" not in answer.text or "to" in query
            assert {each["recipient"] for each in mails(browser, **query)} <= {"alice@example.com"}
        pasted = browser.post("/mail", {"token": "token", "text": line})
        assert pasted.status in (200, 303)
        assert mails(browser, to="bob@example.com") == []
    (own,) = mails(of(parts), **{"from": sender})
    assert own["queue_ids"] == []
    assert "private/store" not in of(parts).get("/mail").text
    of_domain = mails(of(parts, Role.DOMAIN, domains=frozenset({"example.com"})), **{"from": sender})
    assert {each["recipient"] for each in of_domain} == {"alice@example.com", "bob@example.com"}


def two_held(browser, sender):
    """Both mails, once both are held."""
    found = mails(browser, **{"from": sender})
    return found if [each["state"] for each in found] == ["held", "held"] else []


def test_a_pasted_line_or_bounce_leads_to_its_mail(site, admin):
    """A line of the log of a mail that only Postfix refused, and the message of the sender's server."""
    sender = "pasted@example.org"
    eventually(lambda: send(site, sender, ["nobody"])["nobody"][0] == 550, DEADLINE_S)
    logged(site, f"from=<{sender}>")
    line = next(
        each
        for each in site.postfix.log_text().splitlines()
        if f"from=<{sender}> to=<nobody" in each and ": 550 " in each
    )
    bounce = (
        f"<nobody@example.com>: host mx.example.com said: 550 5.1.1 User unknown\n\n"
        f"From: <{sender}>\nTo: <nobody@example.com>\n"
    )
    for text in (line, bounce):
        answer = admin.post("/mail", {"token": "token", "text": text})
        assert answer.status == 303, answer.text
        found = admin.json(answer.headers["location"])["mails"]
        assert (sender, "refused") in {(each["sender"], each["state"]) for each in found}
    assert admin.post("/mail", {"token": "token", "text": "nothing of a mail"}).status == 422
    assert admin.post("/mail", {"token": "token", "text": " "}).status == 303


def test_a_mail_that_waits_is_seen_in_the_queue(site, admin, parts):
    """While the backend is away; and it is delivered once it is back."""
    site.backend.postfix.stop()
    try:
        sender = "waits@example.org"
        send(site, sender, ["alice"])
        found = eventually(lambda: [e for e in mails(admin, **{"from": sender}) if e["state"] == "waits"], DEADLINE_S)[
            0
        ]
        assert "It is in the queue of the mail server now: connect to 127.0.0.1" in found["events"][-1]["text"]
        (own,) = mails(of(parts), **{"from": sender})
        assert own["state"] == "waits"
    finally:
        site.backend.postfix.start()
    site.postfix.flush()
    eventually(lambda: delivered(admin, sender), DEADLINE_S)


def test_a_part_that_is_away_is_said_and_the_others_go_on(site, admin):
    """The store: what the history and the log have is shown."""
    send(site, "away@example.org", ["alice"])
    eventually(lambda: delivered(admin, "away@example.org"), DEADLINE_S)
    site.store.end()
    try:
        page = admin.json("/mail?from=away@example.org")
        assert [each["state"] for each in page["mails"]] == ["delivered"]
        assert [each["text"].partition(":")[0] for each in page["notices"]] == ["the store of held mail"]
    finally:
        site.store.start()


def test_people_read_it_in_their_language(site, parts):
    """Every text of the page but the replies of servers."""
    sender = "language@example.org"
    send(site, sender, ["alice"], rspamd.SPAM_WORD)
    eventually(lambda: [e for e in mails(of(parts), **{"from": sender}) if e["state"] == "held"], DEADLINE_S)
    for language, texts in (
        ("es", ("¿Dónde está mi correo?", "El servidor de correo lo aceptó de 203.0.113.9.", "Retenido.")),
        ("ca", ("On és el meu correu?", "El servidor de correu l'ha acceptat de 203.0.113.9.", "Retingut.")),
    ):
        found = of(parts).get(f"/mail?from={sender}", accept_language=language, accept="application/json").json()
        said = "\n".join([found["title"], *(each["text"] for each in found["mails"][0]["events"])])
        assert all(each in said for each in texts), said
        page = of(parts).get(f"/mail?from={sender}", accept_language=language)
        assert f'<html lang="{language}"' in page.text


def test_the_csv_has_every_event(admin):
    """Of all mails that are found."""
    lines = admin.get("/mail?to=alice@example.com&format=csv").text.splitlines()
    assert lines[0] == "sender,recipient,state,at_s,stage,text"
    assert len(lines) > 10


def test_what_is_not_understood_is_said(admin):
    """With the form as it was."""
    assert admin.get("/mail").status == 200
    assert "Say a recipient" in admin.get("/mail").text
    assert admin.get("/mail?q=nonsense:x").status == 422
    assert admin.get("/mail?since=7y").status == 422
    assert admin.json("/mail?to=nobody-at-all@example.com")["sentence"] == "No such mail is known here."
