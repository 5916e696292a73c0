"""Texts as people paste them, in the shapes of the programs that write them, about three mails of a history."""

# ruff: noqa: E501, ISC004 - lines of logs are as long as they are.
from __future__ import annotations

import base64
import json

from tests.history_logs import NOON_S, decision

# From a@example.org to b@example.com, refused; from q@example.org, accepted as 4F2A1C3D5E; from t@example.org, put off.
REFUSED, ACCEPTED, RETRIED = "0000rfsd0000", "0000qqqq0000", "0000tttt0000"
CODE = "k2xg0y7qw3bd"
QUEUE = "4F2A1C3D5E"
LONG_QUEUE = "4Wq3Hk0Xy1z2"


def history_lines():
    """The three mails, and decisions about the same addresses that are not meant, most of them newer."""
    a, b = "a@example.org", "b@example.com"
    return [
        decision(NOON_S - 10 * 86400, code="0000bldr0000", client_address="198.51.100.7"),
        decision(NOON_S - 5 * 86400, code="0000bldq0000", sender="q@example.org", queue_id=QUEUE[:6], instance="0.0"),
        decision(
            NOON_S - 1200, code="0000tttt0001", sender="t@example.org", action="450 4.7.1 later", instance="8.1.1"
        ),
        decision(NOON_S, code=REFUSED, client_address="198.51.100.7", instance="9.1.1"),
        decision(NOON_S, code=ACCEPTED, sender="q@example.org", action="WARN", instance="9.2.1"),
        decision(
            NOON_S + 1, code="0000qqqq0001", sender="q@example.org", queue_id=QUEUE, action="WARN", instance="9.2.1"
        ),
        decision(
            NOON_S + 2, code=RETRIED, sender="t@example.org", action="WARN", instance="9.3.1", queue_id=LONG_QUEUE
        ),
        decision(NOON_S + 600, code=CODE, sender="c@example.net", recipient="d@example.com", instance="9.4.1"),
        decision(NOON_S + 610, code="0000rvrs0000", sender=b, recipient=a, sasl_username="b", instance="9.5.1"),
        decision(NOON_S + 620, code="0000pstm0000", sender=b, recipient="postmaster@example.org", instance="9.6.1"),
        decision(NOON_S + 630, code="0000thr00000", sender="x@example.net", recipient=b, instance="9.7.1"),
        decision(NOON_S + 640, code="0000thr00001", sender=a, recipient="c@example.com", instance="9.8.1"),
    ]


SYSLOG = "Nov 28 12:00:00 mx postfix"
ISO = "2026-11-28T12:00:00.123456+00:00 mx postfix"
REJECT = (
    "smtpd[711]: NOQUEUE: reject: RCPT from mail.example.org[198.51.100.7]: 554 5.7.1 <b@example.com>: Recipient address "
    "rejected: not today; from=<a@example.org> to=<b@example.com> proto=ESMTP helo=<mail.example.org>"
)
JSON_LINE = decision(NOON_S, code=REFUSED).decode().strip()
LOGFMT_LINE = (
    'time=2026-11-28T12:00:00.000Z level=info event=decision worker=0 pid=7 action="REJECT no" line=policy.conf:7 us=9 '
    "client=198.51.100.7 sender=a@example.org recipient=b@example.com state=RCPT"
)
DSN = """\
Reporting-MTA: dns; out.example.org
X-Postfix-Queue-ID: 3D3C3B3A39
X-Postfix-Sender: rfc822; a@example.org
Arrival-Date: Sat, 28 Nov 2026 11:59:58 +0000 (UTC)

Final-Recipient: rfc822; b@example.com
Original-Recipient: rfc822;b@example.com
Action: failed
Status: 5.7.1
Remote-MTA: dns; mx.example.com
Diagnostic-Code: smtp; 554 5.7.1 <b@example.com>: Recipient address rejected: not today
"""
POSTFIX = """\
This is the mail system at host out.example.org.

I'm sorry to have to inform you that your message could not
be delivered. For further assistance, please send mail to postmaster.

<b@example.com>: host mx.example.com[192.0.2.25] said: 554 5.7.1
    <b@example.com>: Recipient address rejected: not today (in reply to RCPT TO command)
"""
EXIM = """\
From: Mail Delivery System <Mailer-Daemon@out.example.org>
To: a@example.org
Subject: Mail delivery failed: returning message to sender
X-Failed-Recipients: b@example.com
Date: Sat, 28 Nov 2026 12:00:03 +0000

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  b@example.com
    host mx.example.com [192.0.2.25]
    SMTP error from remote mail server after RCPT TO:<b@example.com>:
    554 5.7.1 <b@example.com>: Recipient address rejected: not today
"""
EXCHANGE = """\
From: Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.org>
To: a@example.org
Subject: Undeliverable: minutes

Delivery has failed to these recipients or groups:

Bo Berg (b@example.com)
Your message wasn't delivered because the recipient's email provider rejected it.

Diagnostic information for administrators:

Generating server: EXCH01.example.org

b@example.com
mx.example.com
Remote Server returned '554 5.7.1 <mail.example.org[198.51.100.7]>: Client host rejected: not today'

Original message headers:

From: "Ann" <a@example.org>
To: "Bo Berg" <b@example.com>
Message-ID: <5f1e2d3c4b5a@EXCH01.example.org>
"""
OFFICE = """\
<html><body><p><b>Your message to <a href="mailto:b@example.com">b@example.com</a> couldn't be delivered.</b></p>
<table><tr><td>Created Date:</td><td>11/28/2026 11:59:57 AM</td></tr>
<tr><td>Sender Address:</td><td>a@example.org</td></tr>
<tr><td>Recipient Address:</td><td>b@example.com</td></tr></table>
<p>Error:<br>550 5.7.1 Remote server returned message detected &lt;postmaster@example.org&gt;</p></body></html>
"""
GMAIL = """\
From: Mail Delivery Subsystem <mailer-daemon@googlemail.example>
To: a@example.org

** Message blocked **

Your message to b@example.com has been blocked. See technical details below
for more information. Contact postmaster@example.org.

The response was:

554 5.7.1 <a@example.org>: Sender address rejected: not today
"""
GMAIL_OLD = """\
Delivery to the following recipient failed permanently:

     b@example.com

Technical details of permanent failure:
The error that the other server returned was: 554 5.7.1 not today

----- Original message -----
From: Ann <a@example.org>
To: Bo <b@example.com>
"""
QMAIL = """\
Hi. This is the qmail-send program at example.org.
I'm afraid I wasn't able to deliver your message to the following addresses.

<b@example.com>:
192.0.2.25 does not like recipient.
Remote host said: 554 5.7.1 not today
Giving up on 192.0.2.25.

--- Below this line is a copy of the message.

Return-Path: <a@example.org>
"""


def wrapped(text, width=60):
    """As a terminal cuts it, anywhere."""
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


def quoted_printable(text):
    """A part of a mail with soft line breaks."""
    text = text.replace("=", "=3D").replace("@", "=40").replace("delivered", "deli=\nvered")
    return f"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n{text}"


def encoded(text):
    """A part of a mail in base64."""
    return f"Content-Transfer-Encoding: base64\nX-More: 1\n\n{base64.encodebytes(text.encode()).decode()}"


TEXTS = {
    "a line of our log in JSON": (JSON_LINE, REFUSED),
    "a line of our log in logfmt": (LOGFMT_LINE, REFUSED),
    "logfmt with an id": (f"{LOGFMT_LINE} id={CODE}", CODE),
    "ours through syslog": (f"Nov 28 12:00:00 mx forkpolicy[7]: {LOGFMT_LINE}", REFUSED),
    "ours through syslog with a time in ISO 8601": (f"2026-11-28T12:00:00+00:00 mx forkpolicy[7]: {JSON_LINE}", REFUSED),
    "ours from the journal in JSON": (
        json.dumps({"MESSAGE": LOGFMT_LINE, "__REALTIME_TIMESTAMP": str(int(NOON_S * 1e6))}, indent=1), REFUSED),
    "ours in JSON, cut by a terminal": (wrapped(JSON_LINE), REFUSED),
    "a refusal": (f"{SYSLOG}/{REJECT}", REFUSED),
    "a refusal with a time in ISO 8601": (f"{ISO}/{REJECT}", REFUSED),
    "a refusal from the journal": (
        json.dumps({"MESSAGE": REJECT, "__REALTIME_TIMESTAMP": str(int(NOON_S * 1e6))}), REFUSED),
    "a refusal from journalctl -o short-unix": (f"{NOON_S:.6f} mx postfix/{REJECT}", REFUSED),
    "a refusal, cut by a terminal": (wrapped(f"{SYSLOG}/{REJECT}"), REFUSED),
    "a refusal, wrapped by a mail program": (f"{SYSLOG}/{REJECT}".replace(" 554", "\n554").replace(" to=", "\nto="), REFUSED),
    "a refusal, quoted in a mail": (f"He wrote:\n> {SYSLOG}/{REJECT}\n", REFUSED),
    "a refusal of submission": (f"{SYSLOG}/submission/{REJECT}", REFUSED),
    "a refusal of another instance": (f"Nov 28 12:00:00 mx postfix-in/{REJECT}", REFUSED),
    "a refusal by postscreen": (
        f"{SYSLOG}/postscreen[9]: NOQUEUE: reject: RCPT from [198.51.100.7]:4711: 550 5.7.1 Service unavailable; client "
        "[198.51.100.7] blocked using dnsbl.example; from=<a@example.org>, to=<b@example.com>, proto=ESMTP, helo=<x>",
        REFUSED,
    ),
    "a refusal that lies in its reply": (
        f"{SYSLOG}/{REJECT}".replace("not today", "id=1; from=<x@example.net> to=<b@example.com>"), REFUSED),
    "a refusal, and much around it": (f"See this:\n\n{SYSLOG}/{REJECT}\n\nRegards, x@example.net", REFUSED),
    "a client of a mail": (f"{SYSLOG}/smtpd[9]: {QUEUE}: client=mail.example.net[203.0.113.5]", "0000qqqq0001"),
    "a login of a mail": (
        f"{SYSLOG}/smtpd[9]: {QUEUE}: client=x[203.0.113.5], sasl_method=PLAIN, sasl_username=q", "0000qqqq0001"),
    "a message id": (f"{SYSLOG}/cleanup[9]: {QUEUE}: message-id=<b@example.com>", "0000qqqq0001"),
    "a sender in the queue": (f"{SYSLOG}/qmgr[9]: {QUEUE}: from=<q@example.org>, size=612, nrcpt=1 (queue active)", "0000qqqq0001"),
    "a delivery": (
        f"{SYSLOG}/smtp[9]: {QUEUE}: to=<b@example.com>, relay=mx.example.net[192.0.2.9]:25, delay=2.1, delays=1/0/1/0.1, "
        "dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 3D3C3B3A39)",
        "0000qqqq0001",
    ),
    "a delivery to LMTP with a long queue id": (
        f"{SYSLOG}/lmtp[9]: {LONG_QUEUE}: to=<b@example.com>, relay=mx[private/lmtp], delay=0.1, dsn=2.0.0, status=sent (250 Saved)",
        RETRIED,
    ),
    "a delivery of a queue id that is not known": (
        f"{SYSLOG}/smtp[9]: ABCDEF1234: to=<d@example.com>, orig_to=<d@example.com>, relay=none, delay=1, status=deferred (no)",
        CODE,
    ),
    "a non-delivery notification": (f"{SYSLOG}/bounce[9]: {QUEUE}: sender non-delivery notification: 5E5D5C5B5A", "0000qqqq0001"),
    "the end of a mail": (f"{SYSLOG}/qmgr[9]: {QUEUE}: removed", "0000qqqq0001"),
    "several lines of a mail": (
        "\n".join(
            f"{SYSLOG}/{rest}"
            for rest in (
                "smtpd[9]: ABCDEF1234: client=x[203.0.113.5]",
                "qmgr[9]: ABCDEF1234: from=<c@example.net>, size=612, nrcpt=1 (queue active)",
                "smtp[9]: ABCDEF1234: to=<d@example.com>, relay=none, delay=700, status=deferred (no)",
            )
        ),
        CODE,
    ),
    "a reply with {code}": (f"554 5.7.1 not today, see {CODE}", CODE),
    "a bounce with {code}": (POSTFIX.replace("not today", f"see {CODE}"), CODE),
    "{code} in base64": (encoded(f"Your mail was refused, see {CODE}."), CODE),
    "Postfix": (f"To: a@example.org\n\n{POSTFIX}\n{DSN}", REFUSED),
    "Postfix, without its second part": (f"From: MAILER-DAEMON@out.example.org\nTo: a@example.org\n\n{POSTFIX}", REFUSED),
    "Postfix, expanded from an alias": (
        f"{POSTFIX}\n{DSN}".replace("<b@example.com>: host", "<x@example.net> (expanded from <b@example.com>): host"), REFUSED),
    "Postfix, forwarded": ("\n".join(f"> {line}" for line in f"{POSTFIX}\n{DSN}".splitlines()), REFUSED),
    "Postfix of ours": (DSN.replace("3D3C3B3A39", QUEUE).replace("a@", "q@"), "0000qqqq0001"),
    "message/delivery-status": (DSN, REFUSED),
    "message/delivery-status with brackets and CRLF": (
        DSN.replace("; b@example.com", "; <b@example.com>").replace("\n", "\r\n"), REFUSED),
    "message/delivery-status in base64": (encoded(DSN), REFUSED),
    "a delivery status of an address of RFC 6533": (DSN.replace("rfc822", "utf-8"), REFUSED),
    "Exim": (EXIM, REFUSED),
    "Exim, without headers": (EXIM.partition("\n\n")[2] + "\nReturn-path: <a@example.org>\n", REFUSED),
    "Exchange": (EXCHANGE, REFUSED),
    "Exchange, quoted-printable": (quoted_printable(EXCHANGE), REFUSED),
    "Microsoft 365 in HTML": (OFFICE, REFUSED),
    "Microsoft 365 in HTML, quoted-printable": (quoted_printable(OFFICE), REFUSED),
    "Gmail": (GMAIL, REFUSED),
    "Gmail, encoded headers": (
        GMAIL.replace("From: Mail", "From: =?UTF-8?Q?Mail_=C3=9C?=").replace("To: a@", "To: =?utf-8?B?QW5u?= <a@").replace(
            "example.org\n\n**", "example.org>\n\n**"), REFUSED),
    "Gmail, as it was": (GMAIL_OLD, REFUSED),
    "qmail": (QMAIL, REFUSED),
    "a transcript of SMTP": ("MAIL FROM:<a@example.org>\n250 ok\nRCPT TO:<b@example.com>\n554 5.7.1 not today\n", REFUSED),
    "angle brackets of HTML": ("&lt;b@example.com&gt;: host mx said: 554 no<br>Sender: &lt;a@example.org&gt;", REFUSED),
    "an address that nobody knows, and ours": ("nobody@example.net cannot write to d@example.com, says c@example.net", CODE),
}  # fmt: skip
