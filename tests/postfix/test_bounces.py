"""The bounce that a real Postfix writes about a mail that ours refused, pasted: it finds the decision."""

from __future__ import annotations

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.postfix import PrivatePostfix
from tests.postfix.catcher import Catcher
from tests.process.waiting import eventually

POLICY = """\
acl theirs sender @example.org
action no REJECT 5.7.1 not today
access theirs no
"""


def test_a_bounce_finds_the_decision(postfix, directory, serve):
    """The whole message, its first part, its delivery status, and the line of either Postfix's log."""
    server = serve(POLICY)
    text = server.settings.read_text()
    server.settings.write_text(
        f'{text}\n[history]\nlog = "history.json"\npath = "history"\nmail_log = "{postfix.log}"\n'
    )
    server.stop()
    server.start()
    with Catcher() as catcher:
        transports = (
            f"inline:{{ {{ example.com = smtp:[127.0.0.1]:{postfix.port} }}, {{ example.org = {catcher.transport} }} }}"
        )
        theirs = {
            "myhostname": "out.example.org",
            "smtpd_recipient_restrictions": "permit_mynetworks, reject",
            "transport_maps": transports,
            "lmtp_connection_cache_on_demand": "no",
        }
        services = "lmtp unix - - n - - lmtp\nsmtp unix - - n - - smtp\n"
        with PrivatePostfix(directory / "theirs", main=theirs, services=services) as sending:
            with SmtpClient(sending.port) as session:
                session.ehlo()
                session.mail("a@example.org")
                assert session.rcpt("b@example.com").code == 250
                assert session.data().code == 250
            (bounce,) = eventually(lambda: catcher.messages)
            logs = eventually(lambda: [each for each in sending.log_text().splitlines() if "status=bounced" in each])
    refusals = eventually(lambda: [each for each in postfix.log_text().splitlines() if "NOQUEUE: reject" in each])
    eventually(lambda: '"event":"decision"' in (server.directory / "history.json").read_text())
    assert server.command("history", "ingest", "--once").returncode == 0
    parts = bounce.split("Content-Description:")
    both = "to:b@example.com from:a@example.org since:"
    # The notification alone does not name the sender, nor does the line of the other log.
    for pasted, searched in (
        (bounce, both),
        (parts[1], "to:b@example.com"),
        (parts[2], both),
        (logs[0], "to:b@example.com"),
        (refusals[0], "client:127.0.0.1 from:a@example.org to:b@example.com since:"),
    ):
        found = server.command("history", "find", "-", text=pasted)
        assert f"searched: {searched}" in found.stderr, pasted + found.stderr
        assert "  a@example.org -> b@example.com  " in found.stdout, pasted + found.stdout
    refused = server.command("history", "mail", "-", text=bounce)
    assert "  refused (554 5.7.1 <b@example.com>: Recipient address rejected: not today)\n" in refused.stdout
