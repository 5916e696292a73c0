"""What Postfix logs of a rejection, given to `explain`: the client and envelope that the policy was asked about."""

from __future__ import annotations

import json

import pytest

from forkpolicy.history.log_lines import read_line
from loadtest.clients.smtp import SmtpClient
from loadtest.servers.server import Server
from tests.postfix.test_odd_addresses import NOT_OURS, OURS
from tests.process.waiting import eventually

POLICY = """\
acl ours sender @example.com
acl to_them recipient @example.org
action no REJECT 5.7.1 {sender} to {recipient}; from=<nobody@example.net> helo=<x>: no
access ours no
access to_them no
"""
# What the log shows of an envelope and what the policy is asked about differ in nothing but quotes.
SENDERS = {kind: address for kind, address in {**OURS, **NOT_OURS}.items() if address}


@pytest.fixture(scope="module")
def asked(postfix, directory):
    """Postfix with a policy that rejects all of them; its log has whole requests."""
    place = postfix.private / "policy"
    with Server(directory / "server", POLICY, socket_path=place, decisions="all", log_format="json") as server:
        yield postfix, server


def rejections(postfix):
    return [line for line in postfix.log_text().splitlines() if "NOQUEUE: reject: RCPT" in line]


def decisions(server):
    return [line for line in server.log.read_text().splitlines() if '"event":"decision"' in line]


def next_of(lines, source, before):
    """The line that another process is about to write."""
    return eventually(lambda: lines(source)[before:])[-1]


@pytest.mark.parametrize("sender", [*SENDERS.values(), ""], ids=[*SENDERS, "the null sender"])
def test_a_rejection_is_the_request_that_was_asked(asked, sender):
    """Client, state, sender, recipient and HELO name; and `explain` says of the line what Postfix was sent."""
    postfix, server = asked
    rejected_before, decided_before = len(rejections(postfix)), len(decisions(server))
    with SmtpClient(postfix.port) as session:
        session.ehlo()
        session.xclient("203.0.113.9")
        session.ehlo()
        assert session.mail(sender).code == 250
        reply = session.rcpt('"a b"@example.org')
        assert reply.code == 554, reply
    line = next_of(rejections, postfix, rejected_before)
    decision = json.loads(next_of(decisions, server, decided_before))
    found, request = read_line(line.encode()).attributes, decision["request"]
    names = ("protocol_state", "protocol_name", "client_address", "client_name", "sender", "recipient", "helo_name")
    assert {name: found.get(name) for name in names} == {name: request[name] for name in names}
    done = server.command("explain", "--json", line)
    assert done.returncode == 0, done.stderr
    explained = json.loads(done.stdout)
    assert (explained["action"], f"{server.directory}/policy.conf:{explained['decided_by']['line']}") == (
        decision["action"],
        decision["line"],
    )
