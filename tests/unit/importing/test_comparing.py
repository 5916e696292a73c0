"""--compare asks the original server and the imported policy the same, and lists what they reply differently."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest

from forkpolicy.commands.main import main as forkpolicy
from forkpolicy.errors import ForkpolicyError
from forkpolicy.importing import apolicy

# apolicy as its documentation has it: a value is an expression that is searched for, and tells upper from lower case.
SEARCHES = """\
import re, sys
for line in sys.stdin:
    print("REJECT no" if re.search("@example.com", line) else "DUNNO", flush=True)
"""
POLICY = "acl bad sender @example.com\naction no REJECT no\naccess bad no\n"


class Searching:
    """A process that answers a sender a line."""

    def __init__(self, process):
        self._process = process

    def replies(self, requests):
        replies = []
        for request in requests:
            self._process.stdin.write(request["sender"] + "\n")
            self._process.stdin.flush()
            replies.append(self._process.stdout.readline().strip())
        return replies


@contextmanager
def searching(_inputs):
    """Start it, and end it."""
    command = [sys.executable, "-c", SEARCHES]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Searching(process)
        process.stdin.close()


@pytest.fixture
def original(monkeypatch):
    """apolicy with a program."""
    monkeypatch.setattr(apolicy, "FORMAT", replace(apolicy.FORMAT, original=searching))


@pytest.fixture
def compared(tmp_path, capsys):
    """Imports a policy and compares it about some senders: exit status, standard output, standard error."""

    def compare(policy, senders, *options, files=()):
        (tmp_path / "policy.conf").write_text(policy)
        requests = tmp_path / "requests"
        requests.write_text(
            "".join(
                "request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.7\n"
                f"sender={sender}\nrecipient=anna@example.org\n\n"
                for sender in senders
            )
        )
        given = [str(tmp_path / "policy.conf"), *map(str, files)]
        status = forkpolicy(["import", "apolicy", *options, "--compare", str(requests), *given])
        said = capsys.readouterr()
        return status, said.out, said.err

    return compare


def test_differences_are_listed_with_both_replies_and_the_rule(original, compared, tmp_path):
    """The request's number, both replies, our rule with its origin, a summary; exit status 1."""
    senders = ["x@example.com", "x@example.com.evil.example", "y@example.net", "X@EXAMPLE.COM"]
    status, out, _ = compared(POLICY, senders)
    usual = "protocol_state=RCPT client_address=192.0.2.7"
    assert status == 1
    assert out.splitlines() == [
        f"{tmp_path}/requests: request 2: {usual} sender={senders[1]} recipient=anna@example.org",
        "    original: REJECT no",
        "    imported: DUNNO",
        "    by no rule: the action default, or on_error",
        f"{tmp_path}/requests: request 4: {usual} sender={senders[3]} recipient=anna@example.org",
        "    original: DUNNO",
        "    imported: REJECT no",
        f"    by {tmp_path}/policy.conf:3: access bad no",
        "4 requests compared with ACL Policy Daemon for Postfix: 2 equal, 2 different",
    ]


def test_equal_replies_are_only_counted(original, compared):
    """With values as they were there is no difference; exit status 0, and no policy on standard output."""
    senders = ["x@example.com", "x@example.com.evil.example", "y@example.net", "X@EXAMPLE.COM"]
    status, out, err = compared(POLICY, senders, "--values", "searched-case")
    assert (status, out.count("\n")) == (0, 1)
    assert out.startswith("4 requests compared")
    assert "1 rule" in err


def test_tables_are_compiled_for_the_comparison(original, compared, tmp_path):
    """A file of values is a table, which is asked."""
    (tmp_path / "list").write_text("@example.com\n")
    policy = "acl bad sender /etc/apolicy/list\naction no REJECT no\naccess bad no\n"
    status, out, _ = compared(policy, ["x@example.com", "y@example.net"], files=[tmp_path / "list"])
    assert (status, out.splitlines()[-1].rpartition(": ")[2]) == (0, "2 equal, 0 different")


def test_what_asks_the_world_is_named(original, compared):
    """A DNS list is not asked: the rule is passed over, and the report says so."""
    policy = f"acl listed rbl bl.example.com\naction spam REJECT spam\naccess listed spam\n{POLICY}"
    status, out, _ = compared(policy, ["x@example.com"])
    assert status == 0
    assert "not asked, and taken as what cannot be known: listed" in out


def test_many_differences_are_counted(original, compared):
    """A hundred are shown."""
    status, out, _ = compared(POLICY, [f"x{number}@example.com.evil.example" for number in range(250)])
    assert status == 1
    assert len(re.findall("original:", out)) == 100
    assert "(150 more differences)" in out


def test_a_format_without_a_program_says_so(compared):
    """apolicy's program exists no more: wrong usage, before anything is read."""
    status, out, err = compared(POLICY, ["x@example.com"])
    assert (status, out) == (2, "")
    assert "is published nowhere any more" in err


def test_a_program_that_is_not_installed_is_named(compared, monkeypatch):
    """What the original says of itself is the message."""

    @contextmanager
    def missing(_inputs):
        raise ForkpolicyError("postfwd3 is not installed: apt install postfwd")
        yield

    monkeypatch.setattr(apolicy, "FORMAT", replace(apolicy.FORMAT, original=missing))
    status, _, err = compared(POLICY, ["x@example.com"])
    assert status == 1
    assert err.endswith("postfwd3 is not installed: apt install postfwd\n")


def test_a_file_without_requests_is_wrong_usage(original, compared):
    """As for replay."""
    assert compared(POLICY, [])[0] == 2
