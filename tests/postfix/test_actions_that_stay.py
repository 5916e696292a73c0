"""What an action on the whole message does when its recipient is refused afterwards, and where PREPEND is too late.

The table of docs/policy.conf.5.md ("Actions that stay"), and what `check --postfix` warns of.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import POLICY_SERVICE, PrivatePostfix
from loadtest.servers.server import Server
from tests.postfix.test_answers import logged

REPLIES = {
    "hold": "HOLD suspicious",
    "filter": "FILTER discard:filtered",
    "redirect": "REDIRECT quarantine@example.net",
    "bcc": "BCC archive@example.net",
    "prepend": "PREPEND X-Seen: {recipient}",
}
POLICY = (
    "acl rcpt protocol_state RCPT\nacl to-keep recipient keep@example.org\naction keep HOLD looked at by the test\n"
    "access rcpt to-keep keep\nacl done protocol_state END-OF-MESSAGE\nacl late sender late@example.com\n"
    "action mark PREPEND X-Late: yes\naccess done late mark\n"
) + "".join(
    f"acl to-{name} recipient {name}@example.org\naction do-{name} {reply}\naccess rcpt to-{name} do-{name}\n"
    for name, reply in REPLIES.items()
)
REFUSED = f"check_recipient_access inline:{{{', '.join(f'{{ {name}@example.org = REJECT no }}' for name in REPLIES)}}}"


@pytest.fixture(scope="module")
def ports(directory):
    """A Postfix that asks before it refuses, and one port at which it refuses before it asks."""
    last = free_port()
    services = f"{last} inet n - n - 50 smtpd\n -o smtpd_recipient_restrictions=$asked_last\n"
    main = {
        "smtpd_recipient_restrictions": f"{POLICY_SERVICE}, {REFUSED}",
        "asked_last": f"{REFUSED}, {POLICY_SERVICE}",
        "smtpd_end_of_data_restrictions": POLICY_SERVICE,
    }
    with (
        PrivatePostfix(directory / "stays", main=main, services=services) as postfix,
        Server(directory / "server", POLICY, socket_path=postfix.private / "policy"),
    ):
        yield postfix, {"first": postfix.port, "last": last}


def mail(port, *recipients, sender="alice@example.com"):
    """One mail; the codes at RCPT, and its queue id."""
    with SmtpClient(port) as session:
        session.ehlo()
        session.mail(sender)
        codes = [session.rcpt(f"{name}@example.org").code for name in recipients]
        return codes, re.search(r"queued as (\w+)", session.data().text)[1]


def header_of(postfix, queue_id):
    held = postfix.queue / "hold" / queue_id
    return subprocess.run(["postcat", "-c", postfix.etc, "-h", held], capture_output=True, text=True, check=True).stdout


FOUND = {
    "filter": r"{id}: to=<other@example\.org>, .*status=sent \(filtered\)",
    "redirect": r"{id}: to=<quarantine@example\.net>, orig_to=<other@example\.org>, .*status=sent",
    "bcc": r"{id}: to=<archive@example\.net>, .*status=sent",
}


@pytest.mark.parametrize("name", FOUND)
def test_an_action_for_a_refused_recipient_acts_on_the_mail_to_the_others(ports, name):
    """Asked before what refuses, FILTER, REDIRECT and BCC stay with the message."""
    postfix, port = ports
    codes, queue_id = mail(port["first"], name, "other")
    assert codes == [554, 250]
    assert logged(postfix, FOUND[name].format(id=queue_id))


def test_hold_and_prepend_stay_too(ports):
    """The mail to the other recipient waits in the hold queue, with the header of the refused one."""
    postfix, port = ports
    codes, queue_id = mail(port["first"], "hold", "prepend", "other")
    assert codes == [554, 554, 250]
    assert header_of(postfix, queue_id).startswith("X-Seen: prepend@example.org\n")


@pytest.mark.parametrize("name", REPLIES)
def test_asked_last_it_is_not_asked_about_who_is_refused(ports, name):
    """Behind what refuses, nothing of it remains: the mail goes where it was addressed to, as it was."""
    postfix, port = ports
    codes, queue_id = mail(port["last"], name, "other")
    assert codes == [554, 250]
    line = logged(postfix, rf"{queue_id}: to=<other@example\.org>, .*status=sent.*")
    assert "(filtered)" not in line
    assert logged(postfix, f"{queue_id}: removed")
    assert len([line for line in postfix.log_text().splitlines() if f"{queue_id}: to=" in line]) == 1


def test_asked_last_no_header_of_a_refused_recipient_stays(ports):
    """PREPEND too: a mail that the test holds has no header of it."""
    postfix, port = ports
    codes, queue_id = mail(port["last"], "prepend", "keep")
    assert codes == [554, 250]
    assert "X-Seen" not in header_of(postfix, queue_id)


def test_prepend_at_end_of_message_is_too_late(ports):
    """Postfix warns and delivers without the header."""
    postfix, port = ports
    _, queue_id = mail(port["first"], "keep", sender="late@example.com")
    assert "X-Late" not in header_of(postfix, queue_id)
    assert logged(postfix, r"warning: .*PREPEND.*|warning: access table .*prepend.*")
