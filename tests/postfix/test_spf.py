"""SPF behind a real Postfix that asks in the order of docs/next-to-others.md: what is refused, what waits, and the
header that arrives with the message.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.names.behaviours import has
from loadtest.servers.names.messages import Record
from loadtest.servers.names.server import NameServer
from loadtest.servers.postfix import PrivatePostfix
from loadtest.servers.server import Server
from tests.postfix.catcher import Catcher
from tests.process.waiting import eventually

pytest.importorskip("spf", reason="SPF needs forkpolicy[dns]")

DOCS = Path(__file__).parents[2] / "docs"
CLIENT = "203.0.113.5"
SPF = {
    "good.example": b"v=spf1 ip4:203.0.113.0/24 -all",
    "bad.example": b"v=spf1 -all",
    "mx.good.example": b"v=spf1 ip4:203.0.113.5 -all",
}


def section(page, title):
    """A section of a page."""
    text = (DOCS / page).read_text()
    return re.search(rf"^## {title}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]


def indented(text):
    """The indented blocks of a section."""
    return [
        re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    ]


def main_cf(block):
    """The parameters of a block that concern restrictions."""
    joined = re.sub(r"\n\s+", " ", block)
    pairs = dict(line.split(" = " if " = " in line else " =", 1) for line in joined.splitlines())
    return {name: value.strip() for name, value in pairs.items() if name.endswith("_restrictions")}


@pytest.fixture(scope="module")
def site(directory):
    """A Postfix with the page's main.cf and the page's policy, and with the cookbook's for a header at DATA."""
    order, policy = indented(section("next-to-others.md", "An order for main.cf"))
    header = re.search(r"```policy\n(.*?)```", section("cookbook.md", "The result of SPF in a header"), re.DOTALL)[1]
    records = {name: has(Record("TXT", record)) for name, record in SPF.items()}
    with (
        Catcher() as catcher,
        NameServer(records) as names,
        PrivatePostfix(
            directory / "spf",
            main={
                **main_cf(order),
                "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
                "mynetworks": "192.0.2.0/24",
                "relay_transport": catcher.transport,
                "lmtp_connection_cache_on_demand": "no",
            },
            services="lmtp unix - - n - - lmtp\n",
        ) as postfix,
    ):
        server = Server(directory / "server-spf", policy + header, socket_path=postfix.private / "policy")
        with server.settings.open("a") as settings:
            settings.write(f'[dns]\nservers = ["{names.address}"]\n')
        with server:
            yield postfix, catcher


def send(site, sender, recipients=("bert@example.com",), client=CLIENT, helo="client.example.org"):
    """The last reply of a session that sends a mail; each recipient must be accepted, or the first reply says why."""
    postfix, _ = site
    with SmtpClient(postfix.port) as smtp:
        smtp.ehlo()
        assert smtp.xclient(client, helo=helo).code == 220
        smtp.ehlo(helo)
        assert smtp.command(f"MAIL FROM:<{sender}>").code == 250
        for recipient in recipients:
            reply = smtp.command(f"RCPT TO:<{recipient}>")
            if reply.code != 250:
                return reply
        reply = smtp.command("DATA")
        assert reply.code == 354
        return smtp.command(f"Subject: of {sender}\r\n\r\ntext\r\n.")


def headers_of(site, sender):
    """The Received-SPF headers of the one message of a sender that has arrived."""
    _, catcher = site
    (message,) = eventually(lambda: [each for each in catcher.messages if f"Subject: of {sender}\r\n" in each])
    headers = re.sub(r"\r\n[ \t]+", " ", message.partition("\r\n\r\n")[0])
    return [line for line in headers.split("\r\n") if line.startswith("Received-SPF:")]


def test_the_header_arrives_once(site):
    """One for three recipients, and it is the first line of the message."""
    reply = send(site, "anna@good.example", [f"{name}@example.com" for name in ("bert", "carl", "dora")])
    assert reply.code == 250
    (header,) = headers_of(site, "anna@good.example")
    assert header.startswith("Received-SPF: pass (")
    assert f'client-ip={CLIENT}; envelope-from="anna@good.example"; helo=client.example.org; ' in header
    assert header.endswith('identity=mailfrom; mechanism="ip4:203.0.113.0/24"')


def test_an_odd_sender_stays_within_its_quotes(site):
    """Whatever a client writes between its own."""
    assert send(site, r'"x) \"y; z=1"@good.example').code == 250
    (header,) = headers_of(site, r'"x) \"y; z=1"@good.example')
    assert r'envelope-from="x) \"y; z=1@good.example"; helo=' in header


def test_what_spf_forbids_is_refused(site):
    """At RCPT, with the text of the policy; own clients are not asked about."""
    reply = send(site, "anna@bad.example")
    assert (reply.code, reply.text.partition(": ")[0]) == (550, "5.7.23 <bert@example.com>")
    assert f"SPF does not allow {CLIENT} to send this mail" in reply.text
    assert send(site, "anna@bad.example", client="192.0.2.7").code == 250


def test_who_is_not_vouched_for_waits(site):
    """A domain without a record."""
    reply = send(site, "anna@nowhere.example")
    assert reply.code == 450
    assert "Greylisted for 290 seconds more" in reply.text


def test_the_null_sender_is_judged_by_its_helo_name(site):
    """Bounces of a host that its own record names do not wait, and their header says so."""
    assert send(site, "", helo="mx.good.example").code == 250
    (header,) = headers_of(site, "")
    assert header.startswith("Received-SPF: pass (")
    assert header.endswith("helo=mx.good.example; receiver=" + header.partition("receiver=")[2])
    assert "; identity=helo; " in header
    assert send(site, "", helo="mx.nowhere.example").code == 450
