"""Every kind of answer of access(5), from the policy file to what Postfix does with it."""

from __future__ import annotations

import re
import select
import subprocess
import time

import pytest

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.postfix import POLICY_SERVICE
from loadtest.servers.server import Server

# What comes after the policy refuses the recipients of these answers, so that "permit" and "no opinion" differ.
MAIN_CF = {
    "smtpd_recipient_restrictions": f"{POLICY_SERVICE}, check_recipient_access inline:"
    "{{ ok@example.org = REJECT later }, { dunno@example.org = REJECT later },"
    " { later@example.org = REJECT later }, { if-reject@example.org = REJECT later }}"
}
# local part of the recipient: the action's reply and text
ACTIONS = {
    "reject": "REJECT 5.7.1 not welcome",
    "plain-reject": "REJECT",
    "defer": "DEFER 4.7.2 come back",
    "permit": "DEFER_IF_PERMIT 4.3.0 not now",
    "later": "DEFER_IF_PERMIT 4.3.0 not now",
    "if-reject": "DEFER_IF_REJECT 4.3.0 unsure",
    "c450": "450 4.7.3 greylisted",
    "c550": "550 5.1.1 no such user",
    "c521": "521 5.3.2 go away",
    "hold": "HOLD suspicious",
    "discard": "DISCARD silently",
    "redirect": "REDIRECT quarantine@example.net",
    "prepend": "PREPEND X-Policy: seen {sender_domain}",
    "bcc": "BCC archive@example.net",
    "filter": "FILTER discard:filtered",
    "warn": "WARN look at {sender}",
    "info": "INFO just so you know",
    "ok": "OK",
    "dunno": "DUNNO",
    "empty-text": "REJECT {sasl_username}",
    "utf8": "REJECT 5.7.1 n\u00e3o autenticado",
}


def policy():
    """One recipient ACL, one action and one rule for each answer."""
    lines = []
    for name, reply in ACTIONS.items():
        lines += [
            f"acl to-{name} recipient {name}@example.org",
            f"action do-{name} {reply}",
            f"access to-{name} do-{name}",
        ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def asked(postfix, directory):
    """Postfix with a policy that gives each answer."""
    with Server(directory / "server", policy(), socket_path=postfix.private / "policy"):
        yield postfix


def mail_to(postfix, *local_parts):
    """One mail to some recipients; the replies at RCPT and the reply after the message."""
    with SmtpClient(postfix.port) as session:
        session.ehlo()
        session.mail("alice@example.com")
        replies = [session.rcpt(f"{name}@example.org") for name in local_parts]
        return replies, session.data() if any(reply.code == 250 for reply in replies) else None


def logged(postfix, pattern, timeout_s=15.0):
    """Wait until a line of Postfix's log matches; asked again whenever the log has grown."""
    deadline = time.monotonic() + timeout_s
    with subprocess.Popen(
        ["tail", "-n", "+1", "-F", postfix.log], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as tail:
        try:
            text = b""
            while time.monotonic() < deadline:
                if select.select([tail.stdout], [], [], deadline - time.monotonic())[0]:
                    text += tail.stdout.read1()
                    found = re.search(pattern, text.decode(errors="replace"))
                    if found:
                        return found[0]
        finally:
            tail.kill()
    last = "\n".join(postfix.log_text().splitlines()[-20:])
    raise AssertionError(f"not in Postfix's log: {pattern}\n...\n{last}")


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("reject", 554, "5.7.1 <reject@example.org>: Recipient address rejected: not welcome"),
        ("plain-reject", 554, "5.7.1 <plain-reject@example.org>: Recipient address rejected: Access denied"),
        ("empty-text", 554, "5.7.1 <empty-text@example.org>: Recipient address rejected: Access denied"),
        ("defer", 450, "4.7.2 <defer@example.org>: Recipient address rejected: come back"),
        ("permit", 450, "4.3.0 <permit@example.org>: Recipient address rejected: not now"),
        ("later", 554, "5.7.1 <later@example.org>: Recipient address rejected: later"),
        ("if-reject", 450, "4.3.0 <if-reject@example.org>: Recipient address rejected: unsure"),
        ("c450", 450, "4.7.3 <c450@example.org>: Recipient address rejected: greylisted"),
        ("c550", 550, "5.1.1 <c550@example.org>: Recipient address rejected: no such user"),
        ("dunno", 554, "later"),
        ("nobody-asked-about", 250, "2.1.5 Ok"),
        ("utf8", 554, "n\u00e3o autenticado"),
    ],
)
def test_what_the_client_is_told(asked, name, code, words):
    """Code and text of each answer that refuses, and of those that leave the matter to what comes after."""
    (reply,), _ = mail_to(asked, name)
    assert reply.code == code, reply
    assert words in reply.text


@pytest.mark.parametrize("name", ["ok", "hold", "discard", "redirect", "prepend", "bcc", "filter", "warn", "info"])
def test_an_answer_that_lets_the_mail_in(asked, name):
    """OK ends the checks with a yes; the others act and let the mail pass."""
    (reply,), after_message = mail_to(asked, name)
    assert (reply.code, after_message.code) == (250, 250)


def test_521_ends_the_session(asked):
    """A 521 is said once, and Postfix hangs up."""
    with SmtpClient(asked.port) as session:
        session.ehlo()
        session.mail("alice@example.com")
        assert session.rcpt("c521@example.org").code == 521
        with pytest.raises((EOFError, OSError)):
            session.command("NOOP")


def test_hold_and_prepend_reach_the_queue(asked):
    """HOLD keeps the mail in the hold queue, and PREPEND has put its header, filled in, on top of it."""
    _, after_message = mail_to(asked, "prepend", "hold")
    queue_id = re.search(r"queued as (\w+)", after_message.text)[1]
    held = asked.queue / "hold" / queue_id
    assert held.exists()
    shown = subprocess.run(["postcat", "-c", asked.etc, "-h", held], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("X-Policy: seen example.com\n"), shown


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("hold", r"hold: RCPT from .* suspicious; .*to=<hold@example\.org>"),
        ("discard", r"discard: RCPT from .* silently; .*to=<discard@example\.org>"),
        ("redirect", r"to=<quarantine@example\.net>, orig_to=<redirect@example\.org>, .*status=sent"),
        ("bcc", r"to=<archive@example\.net>, .*status=sent"),
        ("filter", r"to=<filter@example\.org>, .*status=sent \(filtered\)"),
        ("warn", r"warn: RCPT from .*: look at alice@example\.com; "),
        ("info", r"info: RCPT from .*: just so you know; "),
    ],
)
def test_what_postfix_does(asked, name, pattern):
    """The effect of each answer that acts on the message, as Postfix's log tells it."""
    mail_to(asked, name)
    assert logged(asked, pattern)
