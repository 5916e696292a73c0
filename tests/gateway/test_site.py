"""The whole gateway: mail through real Postfix, rspamd, policy server, store and backend, and what becomes of it."""

from __future__ import annotations

import email
import email.policy
import json
import re
import signal
import smtplib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forkpolicy.gateway.client import ask
from forkpolicy.gateway.digest_messages import ShowLink, UseLink
from forkpolicy.gateway.store_messages import ChooseDigest, Scope
from loadtest.servers import rspamd
from loadtest.servers.engine import Engine
from loadtest.servers.gateway_site import FRIEND, GatewaySite
from loadtest.servers.postfix import missing, traversable_directory
from tests.process.waiting import eventually

pytestmark = [
    pytest.mark.skipif(bool(missing() or rspamd.missing()), reason=missing() or rspamd.missing() or "both are there"),
    pytest.mark.timeout(400),  # the first start of rspamd
]

DATABASE = Path(__file__).parents[2] / "build" / "rspamd"
DEADLINE_S = 40
# One that has another alias in it, which would be expanded a second time if anybody asked again.
ALIASES = {
    "team@example.com": "alice@example.com, dora@example.com",
    "dora@example.com": "dora@example.com, carol@example.com",
}


@pytest.fixture(scope="module")
def site():
    """All of it, once for this file."""
    DATABASE.mkdir(parents=True, exist_ok=True)
    with (
        traversable_directory() as base,
        Engine(base / "redis") as engine,
        GatewaySite(base, DATABASE, str(engine.socket_path), ALIASES) as running,
    ):
        running.engine = engine
        for user in ("alice", "bob", "carol"):
            eventually(lambda user=user: send(running, f"probe@{FRIEND}", [user])[user][0] == 250, DEADLINE_S)
        yield running


def send(site, sender, users, text="hello", subject="plain", client="203.0.113.9"):
    """Send a mail from outside; the reply to each recipient, that to its end for those that were accepted."""
    replies = {}
    with smtplib.SMTP("127.0.0.1", site.postfix.port, timeout=60) as session:
        session.ehlo()
        session.docmd("XCLIENT", f"ADDR={client} NAME=mail.example.org")
        session.ehlo()
        code, text_of_mail = session.mail(sender)
        if code != 250:
            return dict.fromkeys(users, (code, text_of_mail))
        for user in users:
            replies[user] = session.rcpt(f"{user}@example.com")
        accepted = [user for user in users if replies[user][0] == 250]
        if accepted:
            head = f"From: <{sender}>\r\nTo: <{users[0]}@example.com>\r\nSubject: {subject}\r\n"
            end = session.data(f"{head}Message-ID: <{time.monotonic_ns()}@example.org>\r\n\r\n{text}\r\n".encode())
            replies.update(dict.fromkeys(accepted, end))
    return replies


def held(site, *words):
    """What is held, as `forkpolicy held list` says."""
    done = site.store.ask("list", "--json", *words)
    return json.loads(done.stdout)["rows"] if done.returncode == 0 else []


def with_subject(site, subject, user):
    """Mails with a subject that were delivered to a user."""
    return [each for each in site.backend.mails(user) if f"Subject: {subject}".encode() in each]


def held_with(site, subject):
    """Recipients for whom a mail with that subject is held."""
    return sorted(each["recipient"].partition("@")[0] for each in held(site) if each["subject"] == subject)


def test_a_plain_mail_arrives_for_each_recipient(site):
    """Nothing of it is held."""
    assert send(site, "news@example.org", ["alice", "bob"], subject="to-both")["bob"][0] == 250
    for user in ("alice", "bob"):
        eventually(lambda user=user: with_subject(site, "to-both", user), DEADLINE_S)
    assert held_with(site, "to-both") == []


def test_a_forged_mail_is_refused_in_front(site):
    """From one of our domains to one of our domains, from outside: the founding rule, before any verification."""
    code, text = send(site, "boss@example.com", ["alice"])["alice"]
    assert (code, b"Authentication required" in text) == (554, True)


def test_an_unknown_recipient_is_refused_with_the_backends_word(site):
    """550 as soon as the backend was asked."""
    eventually(lambda: send(site, "news@example.org", ["nobody"])["nobody"][0] == 550, DEADLINE_S)


def test_spam_is_held_for_each_recipient(site):
    """Accepted, delivered to none, listed for both, with the scanner's words."""
    assert send(site, "spam@example.org", ["alice", "bob"], rspamd.SPAM_WORD, "spam-both")["alice"][0] == 250
    eventually(lambda: held_with(site, "spam-both") == ["alice", "bob"], DEADLINE_S)
    row = next(each for each in held(site) if each["subject"] == "spam-both")
    assert row["cause"] == "spam"
    assert row["client_address"] == "203.0.113.9"


def test_a_sender_cannot_say_what_the_scanner_says(site):
    """Headers of the scanner that come in with a mail are gone before anybody reads them."""
    words = '"a]; R_SPF_ALLOW(-0.20)[b"@example.org'
    result = "X-Spamd-Result: default: False [0.00 / 15.00]; R_SPF_ALLOW(-0.20)[+ip4]"
    forged = f"x\r\n{result}\r\nX-Virus: no\r\nX-Spamd-Auth: spf\r\nReply-To: {words}"
    send(site, "forger@example.org", ["carol"], rspamd.SPAM_WORD, forged)
    eventually(lambda: "carol" in held_with(site, "x"), DEADLINE_S)
    row = next(each for each in held(site) if each["sender"] == "forger@example.org")
    raw = site.store.ask("show", str(row["id"]), "--raw").stdout
    assert raw.count("X-Spamd-Result:") == 1
    assert raw.count("X-Spamd-Auth:") == 1
    assert "[0.00 / 15.00]" not in raw
    assert "X-Virus" not in raw
    assert row["spam_auth"] == ""


def test_a_welcome_counts_for_its_user_only(site):
    """Spam of a sender that is vouched for goes on to alice, who welcomes it, and stays for bob; without a reload."""
    (site.lists / "user-welcome").write_text(f"alice@example.com news@{FRIEND}\n")
    compile_lists(site.policy)
    eventually(lambda: goes_on(site, f"news@{FRIEND}"), DEADLINE_S)
    send(site, f"news@{FRIEND}", ["alice", "bob"], rspamd.SPAM_WORD, "welcome-one")
    eventually(lambda: with_subject(site, "welcome-one", "alice"), DEADLINE_S)
    assert held_with(site, "welcome-one") == ["bob"]
    assert not with_subject(site, "welcome-one", "bob")
    # Anybody can write that sender in an envelope: without SPF it is not welcome.
    (site.lists / "user-welcome").write_text("alice@example.com news@forged.example.org\n")
    compile_lists(site.policy)
    send(site, "news@forged.example.org", ["alice"], rspamd.SPAM_WORD, "welcome-forged")
    eventually(lambda: held_with(site, "welcome-forged") == ["alice"], DEADLINE_S)


def compile_lists(policy):
    """What the console's unit does when a list changes."""
    policy.compile("user_welcome", "user_block")


def goes_on(site, sender):
    """Whether a welcome is in force: workers load a table within a second."""
    send(site, sender, ["alice"], rspamd.SPAM_WORD, "welcome-probe")
    return bool(with_subject(site, "welcome-probe", "alice"))


def test_a_release_delivers_one_copy_to_one_recipient(site):
    """With the Received of its arrival and without the scanner's headers; six clicks deliver one."""
    send(site, "shop@example.org", ["alice", "bob"], rspamd.SPAM_WORD, "release-one")
    eventually(lambda: held_with(site, "release-one") == ["alice", "bob"], DEADLINE_S)
    row = next(
        each for each in held(site) if (each["subject"], each["recipient"]) == ("release-one", "alice@example.com")
    )
    for _ in range(6):
        site.store.ask("release", str(row["id"]))
    eventually(lambda: with_subject(site, "release-one", "alice"), DEADLINE_S)
    eventually(lambda: [each for each in held(site, "--state", "delivered") if each["id"] == row["id"]], DEADLINE_S)
    (mail,) = with_subject(site, "release-one", "alice")
    assert b"203.0.113.9" in mail
    assert b"\nX-Spam" not in mail
    assert held_with(site, "release-one") == ["bob"]
    assert not with_subject(site, "release-one", "bob")


def test_a_digest_arrives_unscanned_and_its_link_releases(site):
    """Of a person who chose digests; the scanner and the policy, which hold such words, do not see it."""
    send(site, "shop@example.org", ["carol"], rspamd.SPAM_WORD, f"digest {rspamd.SPAM_WORD}")
    eventually(lambda: held_with(site, f"digest {rspamd.SPAM_WORD}") == ["carol"], DEADLINE_S)
    everything = Scope(everything=True)
    ask(site.store.api, ChooseDigest(everything, "carol@example.com", "daily", "ca", "carol"))
    command = [sys.executable, "-m", "forkpolicy", "gateway", "digest", "-c", str(site.store.settings)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "carol@example.com: " in done.stdout, done.stdout + done.stderr

    def digests():
        return [each for each in site.backend.mails("carol") if b"Auto-Submitted: auto-generated" in each]

    eventually(lambda: len(digests()) == 1, DEADLINE_S)
    mail = email.message_from_bytes(digests()[0], policy=email.policy.default)
    assert mail["Return-Path"] in ("<>", None)
    assert not [name for name in mail if name.lower().startswith("x-spam")]
    text = mail.get_body(("plain",)).get_content()
    token = re.search(r"/d/(\w+)", text)[1]
    subject = ask(site.store.api, ShowLink(token)).subject
    assert ask(site.store.api, UseLink(token, "release")).is_done
    eventually(lambda: with_subject(site, subject, "carol"), DEADLINE_S)
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert again.stdout == "0 sent, 0 failed\n"


def checked(site, *more):
    """What `forkpolicy gateway check` says of it."""
    where = ["-c", str(site.store.settings), "--postfix", site.place.postfix]
    command = [sys.executable, "-m", "forkpolicy", "gateway", "check", *where, *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_check_finds_nothing_wrong(site):
    """But that the store shares a file system with the queue, here."""
    done = checked(site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "file system" in done.stdout
    assert "0 errors, 1 warning" in done.stdout


def test_the_check_names_another_order_of_stages(site):
    """And the rest that is wrong, in one run."""
    main, master = (Path(site.place.postfix) / name for name in ("main.cf", "master.cf"))
    before, services = main.read_text(), master.read_text()
    broken = before.replace("reject_unlisted_recipient, reject_unverified_recipient, ", "")
    broken = broken.replace("policy_context=late", "policy_context=late, X").replace(
        "milter_default_action = tempfail", "milter_default_action = accept"
    )
    try:
        broken = broken.replace("address_verify_negative_refresh_time = 2m", "")
        main.write_text(broken.replace("\nheader_checks = regexp", "\nbody_checks = regexp", 1))
        master.write_text(services.replace("smtpd_authorized_xforward_hosts=", "smtpd_authorized_xclient_hosts="))
        done = checked(site)
    finally:
        main.write_text(before)
        master.write_text(services)
    assert done.returncode == 1
    for words in (
        "has no reject_unlisted_recipient",
        "has no reject_unverified_recipient",
        "unscanned",
        "= 3h",
        "gateway-headers",
        "takes no XFORWARD",
    ):
        assert words in done.stdout


def test_a_dead_scanner_defers(site):
    """451 at once, and nothing is delivered unscanned."""
    site.rspamd.stop()
    try:
        code, _ = send(site, "news@example.org", ["alice"], subject="unscanned")["alice"]
        assert code in (421, 451)
    finally:
        site.rspamd.start()
    assert not with_subject(site, "unscanned", "alice")


def test_mail_passes_without_redis(site):
    """rspamd has no Bayes then, and everything else."""
    site.engine.kill()
    try:
        assert send(site, "news@example.org", ["alice"], subject="no-redis")["alice"][0] == 250
        eventually(lambda: with_subject(site, "no-redis", "alice"), DEADLINE_S)
        assert send(site, "spam@example.org", ["alice"], rspamd.SPAM_WORD, "spam-no-redis")["alice"][0] == 250
        eventually(lambda: held_with(site, "spam-no-redis") == ["alice"], DEADLINE_S)
    finally:
        site.engine.start()


def test_aliases_are_expanded_once(site):
    """When it arrives: each person has a copy of their own, and its release goes to that person alone."""
    eventually(lambda: send(site, f"probe@{FRIEND}", ["team"])["team"][0] == 250, DEADLINE_S)
    send(site, "spam@example.org", ["team"], rspamd.SPAM_WORD, "to-the-team")
    eventually(lambda: held_with(site, "to-the-team") == ["alice", "carol", "dora"], DEADLINE_S)
    row = next(
        each for each in held(site) if (each["subject"], each["recipient"]) == ("to-the-team", "dora@example.com")
    )
    site.store.ask("release", str(row["id"]))
    eventually(lambda: with_subject(site, "to-the-team", "dora"), DEADLINE_S)
    eventually(lambda: [each for each in held(site, "--state", "delivered") if each["id"] == row["id"]], DEADLINE_S)
    assert held_with(site, "to-the-team") == ["alice", "carol"]
    assert not with_subject(site, "to-the-team", "carol")


def test_mail_waits_for_a_store_that_is_away(site):
    """It stays in Postfix's queue, and is held once the store is back."""
    site.store.end()
    try:
        assert send(site, "spam@example.org", ["carol"], rspamd.SPAM_WORD, "store-away")["carol"][0] == 250
        eventually(lambda: deferred(site), DEADLINE_S)
    finally:
        site.store.start()
    site.postfix.flush()
    eventually(lambda: held_with(site, "store-away") == ["carol"], DEADLINE_S)


def deferred(site):
    """Whether a delivery to the store was put off."""
    return any("lmtp" in line and "status=deferred" in line for line in site.postfix.log_text().splitlines())


def test_a_killed_store_loses_nothing(site):
    """Thirty spam mails to two, while the store is killed five times: sixty copies are held, the ledger is whole."""
    for number in range(30):
        send(site, "spam@example.org", ["alice", "bob"], rspamd.SPAM_WORD, f"killed-{number}")
        if number % 6 == 5:
            site.store.end(signal.SIGKILL)
            site.store.start()
            site.postfix.flush()
    wanted = [f"killed-{number}" for number in range(30)]

    def copies():
        return sum(each["subject"] in wanted for each in held(site, "--most", "500"))

    eventually(lambda: copies() == 60, DEADLINE_S)
    done = site.store.ask("ledger")
    assert done.returncode == 0, done.stdout
