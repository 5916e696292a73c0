"""What a Postfix does with mail once the commands that `forkpolicy init` prints were run, and its draft serves."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib

import pytest

from forkpolicy.commands import main
from loadtest.clients.smtp import SmtpClient
from loadtest.servers.postfix import PrivatePostfix, free_port
from loadtest.servers.server import Server

OUTSIDE, INSIDE = "203.0.113.9", "192.0.2.7"
CLOSED = "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"
SITES = {
    "permissions first": {"smtpd_recipient_restrictions": CLOSED},
    "nothing in the list": {"smtpd_recipient_restrictions": ""},
    "refusals first": {"smtpd_recipient_restrictions": "reject_unlisted_recipient, permit"},
    "relaying decided in the list": {
        "smtpd_recipient_restrictions": f"reject_unlisted_recipient, {CLOSED}",
        "smtpd_relay_restrictions": "",
    },
    "sender restrictions, not delayed": {
        "smtpd_sender_restrictions": "permit_mynetworks, permit",
        "smtpd_recipient_restrictions": CLOSED,
        "smtpd_delay_reject": "no",
    },
    "parameters of its own": {"our_closing": CLOSED, "smtpd_recipient_restrictions": "$our_closing permit"},
}
# client, AUTH, sender, recipient, whether it is refused
MAILS = {
    "forged": (OUTSIDE, False, "boss@example.com", "staff@example.com", True),
    "forged, without a domain": (OUTSIDE, False, "boss", "staff@example.com", True),
    "a road warrior": (OUTSIDE, True, "boss@example.com", "staff@example.com", False),
    "inside": (INSIDE, False, "boss@example.com", "staff@example.com", False),
    "this machine's programs, as they are": (INSIDE, False, "root", "staff@example.com", False),
    "a partner": (OUTSIDE, False, "anna@example.org", "staff@example.com", False),
    "a bounce": (OUTSIDE, False, "", "staff@example.com", False),
    "relaying": (OUTSIDE, False, "anna@example.org", "bob@example.org", True),
}


@pytest.fixture(scope="module", params=SITES)
def site(request, directory):
    """A Postfix that asks a server with the draft."""
    base = directory / f"init-{list(SITES).index(request.param)}"
    base.mkdir()
    base.chmod(0o755)
    settings = {
        "myorigin": "example.com",
        "mydestination": "example.com",
        "local_transport": "discard:",
        "mynetworks": "127.0.0.0/8 192.0.2.0/24",
        "relay_domains": "",
        "smtpd_relay_restrictions": CLOSED,
        **SITES[request.param],
    }
    # Without a host in front: one on 127.0.0.1 would be for programs of this machine.
    port = free_port()
    postfix = PrivatePostfix(base, main=settings, services=f"{port} inet n - n - 20 smtpd\n")
    draft = base / "forkpolicy" / "forkpolicy.toml"
    assert main(["init", "--postfix", str(postfix.etc), "-c", str(draft), "--write"]) == 0
    with Server(
        base / "server",
        draft.with_name("policy.conf"),
        socket_path=postfix.private / "policy",
        mail=mail_lines(draft),
    ):
        yield postfix, draft, port


def mail_lines(draft):
    """What the draft has in [mail], but for what the server of the test writes itself."""
    mail = tomllib.loads(draft.read_text())["mail"]
    assert mail.pop("recipient_delimiter") == ""
    return "\n".join(re.findall(rf"^(?:{'|'.join(mail)}) = .*$", draft.read_text(), re.MULTILINE))


def test_verdicts(site, capsys):
    """Forged mail is refused, all other mail is taken as before; a second run of init has nothing to add."""
    postfix, draft, port = site
    main(["init", "--postfix", str(postfix.etc), "-c", str(draft)])
    commands = re.findall(r"^  (postconf .*)$", capsys.readouterr().out, re.MULTILINE)
    assert commands
    for each in commands:
        subprocess.run(["/usr/sbin/postconf", *shlex.split(each)[1:]], check=True)
    with postfix:
        assert {name: is_refused(port, *mail[:4]) for name, mail in MAILS.items()} == {
            name: mail[4] for name, mail in MAILS.items()
        }
    assert main(["init", "--postfix", str(postfix.etc), "-c", str(draft)]) == 0
    said = capsys.readouterr().out
    assert "--- " not in said
    assert not re.search(r"^  postconf ", said, re.MULTILINE)


def is_refused(port, client, signs_in, sender, recipient):
    """Whether Postfix refuses sender or recipient for good; the mail server being away is an error."""
    with SmtpClient(port) as session:
        session.ehlo()
        assert session.xclient(client, name="[UNAVAILABLE]").code == 220
        session.ehlo()
        if signs_in:
            assert session.auth("PLAIN", "boss@example.com").code == 235
        reply = session.mail(sender)
        code = session.rcpt(recipient).code if reply.code == 250 else reply.code
        assert code in (250, 504, 554)
        return code != 250
