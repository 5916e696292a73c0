"""What strangers write into Postfix's log: ids of messages and addresses that look like other parts of a line."""

from __future__ import annotations

import pytest

from forkpolicy.gateway.store.mail_log import read_outcome
from forkpolicy.postfix.mail_lines import read_mail_line

HEAD = "Nov 29 10:00:00 mail postfix/smtp[12]: 4XqBcDfGhJzKlM: "
REST = "relay=none, delay=0, delays=0/0/0/0, dsn=5.0.0, status=bounced (no such user)"


@pytest.mark.parametrize(
    "text",
    [
        "message-id=<x status=sent (250 ok)>",
        "message-id=<x, to=<alice@example.com>, status=bounced (no)>",
        "resent-message-id=<x status=sent (250 ok)>",
        'from=<"x, status=sent (250 ok)"@example.org>, size=123, nrcpt=1 (queue active too)',
        "client=mail.example.org[192.0.2.1], sasl_username=x status=sent",
    ],
)
def test_only_a_delivery_says_what_became_of_a_mail(text):
    """The store would remove the mail that was not delivered yet, or hold it again with a stranger's words."""
    assert read_mail_line(HEAD + text).status == ""
    assert read_outcome(HEAD + text) is None


@pytest.mark.parametrize(
    ("text", "recipient"),
    [
        (f"to=<anna@example.com>, {REST}", "anna@example.com"),
        (f"to=<anna@example.com>, orig_to=<a@example.com>, conn_use=2, {REST}", "anna@example.com"),
        (f'to=<"a, status=sent (ok)"@example.com>, {REST}', '"a, status=sent (ok)"@example.com'),
        (f'to=<"a>, status=sent (ok)"@example.com>, {REST}', '"a>, status=sent (ok)"@example.com'),
        (f"to=<>, {REST}", ""),
    ],
)
def test_the_status_is_behind_the_addresses(text, recipient):
    """Whatever stands in quotes in front of the @."""
    line = read_mail_line(HEAD + text)
    assert line.status == "bounced (no such user)"
    assert line.fields["to"] == recipient
    assert read_outcome(HEAD + text).status == "refused"


def test_a_name_in_an_address_is_no_field():
    """Nor is one in the id of a message: a page would show the mail to somebody else."""
    line = read_mail_line(f'{HEAD}from=<"x, to=<anna@example.com>"@example.org>, size=1, nrcpt=1 (queue active)')
    assert line.fields == {"from": '"x, to=<anna@example.com>"@example.org'}
    line = read_mail_line(f"{HEAD}message-id=<x to=<anna@example.com> relay=y>")
    assert line.fields == {"message-id": "x to=<anna@example.com> relay=y"}


def test_a_mail_that_is_too_old():
    """qmgr's own line."""
    assert read_outcome(f"{HEAD}from=<ann@example.org>, status=expired, returned to sender").status == "refused"
