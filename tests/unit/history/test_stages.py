"""What lines of a gateway's Postfix log say of its stages, and how they are counted. The lines are of 3.7.11."""

from __future__ import annotations

import os
import threading
from datetime import datetime

import pytest

from forkpolicy.history.mail_log.files import LogFiles
from forkpolicy.history.mail_log.stage_counts import StageCounts
from forkpolicy.history.mail_log.stages import StageLines, Step
from forkpolicy.history.rollup_sums import SLOT_S, slot_of

REFUSED = "NOQUEUE: reject: RCPT from mail.example.org[203.0.113.9]:"
NOBODY = "<nobody@example.com>: Recipient address rejected:"
CLIENT = "mail.example.org[203.0.113.9]"
SAID = "from=<news@example.org> to=<nobody@example.com> proto=ESMTP helo=<mail.example.org>"
UNKNOWN = "<nobody@example.com>: Recipient address rejected: User unknown in virtual mailbox table"
RELAY = "relay=mx.example.com[private/store-spam]"
SENT = "to=<alice@example.com>, relay=192.0.2.5[192.0.2.5]:25, delay=3.1, delays=3/0.1/0.02/0.03, dsn=2.0.0,"
NOW_S = datetime(2026, 11, 29, 8, 42, 30).astimezone().timestamp()
LINES = {
    f"postfix/smtpd[7]: {REFUSED} 550 5.1.1 {NOBODY} undeliverable address: host 192.0.2.5[192.0.2.5] "
    f"said: 550 5.1.1 {UNKNOWN} (in reply to RCPT TO command); {SAID}": [("verification", "refused", None)],
    f"postfix/smtpd[7]: {REFUSED} 450 4.1.1 <bob@example.com>: Recipient address rejected: "
    f"unverified address: Address verification in progress; {SAID}": [("verification", "deferred", None)],
    f"postfix/smtpd[7]: {REFUSED} 550 5.1.1 {NOBODY} User unknown in relay recipient table; {SAID}": [
        ("verification", "refused", None)
    ],
    f"postfix/smtpd[7]: 4jcgcq00V8zMpbc: reject: RCPT from {CLIENT}: 504 5.5.2 <nofqdn>: Sender address rejected: need "
    f"fully-qualified address; {SAID}": [("addresses", "refused", None)],
    f"postfix/smtpd[7]: {REFUSED} 554 5.7.1 <a@example.org>: Relay access denied; {SAID}": [
        ("addresses", "refused", None)
    ],
    # A rule of the policy: the history counts it.
    f"postfix/smtpd[7]: {REFUSED} 554 5.7.1 <alice@example.com>: Recipient address rejected: "
    f"Authentication required to send as example.com; {SAID}": [],
    f"postfix/smtp[7]: 4jcgcd5xydzMpXh: {SENT} status=deliverable (250 2.1.5 Ok)": [("verification", "probe", 0.05)],
    f"postfix/smtp[7]: 4jcgcd5xydzMpXh: {SENT} status=undeliverable (host said: {UNKNOWN})": [
        ("verification", "probe", 0.05)
    ],
    f"postfix/cleanup[7]: 4jcgcq00V8zMpbc: milter-header-filter: header X-Spam: Yes from {CLIENT}; {SAID}: "
    "quarantine:unix:private/store-spam": [("scanner", "held", None)],
    f"postfix/cleanup[7]: 4jcgcq00V8zMpbc: milter-reject: END-OF-MESSAGE from {CLIENT}: 5.7.1 Gtube pattern; {SAID}": [
        ("scanner", "refused", None)
    ],
    f"postfix/smtpd[7]: NOQUEUE: milter-reject: MAIL from {CLIENT}: 451 4.7.1 Service unavailable - try again later; "
    "from=<news@example.org> proto=ESMTP helo=<x>": [("scanner", "deferred", None)],
    "postfix/smtpd[7]: NOQUEUE: milter-reject: EHLO from unknown[127.0.0.1]: 451 4.7.1 Service unavailable - try again "
    "later; proto=SMTP helo=<[127.0.0.1]>": [],
    f"postfix/cleanup[7]: 4jcgcq00V8zMpbc: milter-hold: END-OF-MESSAGE from {CLIENT}: milter triggers HOLD action; "
    f"{SAID}": [("scanner", "held", None)],
    f"postfix/quarantine/lmtp[7]: 4jcgcq00V8zMpbc: to=<alice@example.com>, {RELAY}, delay=0.06, "
    "delays=0.05/0.01/0/0.02, dsn=2.1.5, status=sent (250 2.1.5 <alice@example.com> held)": [("store", "held", 0.02)],
    f"postfix/quarantine/lmtp[7]: 4jcgcq00V8zMpbc: to=<alice@example.com>, {RELAY}, delay=0.06, "
    "delays=0.05/0.01/0/0, dsn=2.1.5, status=sent (250 2.1.5 <alice@example.com> goes on)": [("store", "passed", 0.0)],
    f"postfix/quarantine/lmtp[7]: 4jcgcq00V8zMpbc: to=<alice@example.com>, {RELAY}, delay=0.06, "
    "delays=0.05/0.01/0/0, dsn=4.3.1, status=deferred (host said: 452 4.3.1 No space left on device)": [
        ("store", "deferred", 0.0)
    ],
    f"postfix/smtp[7]: 4jcgch5wp8zMpZ7: {SENT} status=sent (250 2.0.0 Ok: queued as E57262825FA)": [
        ("delivery", "passed", 0.05)
    ],
    "postfix/smtp[7]: 4jcgch5wp8zMpZ7: to=<alice@example.com>, relay=none, delay=3.1, delays=3/0.1/0/0, dsn=4.4.1, "
    "status=deferred (connect to 192.0.2.5[192.0.2.5]:25: Connection refused)": [("delivery", "deferred", 0.0)],
    "postfix/qmgr[7]: 4jcgch5wp8zMpZ7: removed": [],
    "rspamd[7]: nothing of Postfix": [],
}


@pytest.mark.parametrize(("line", "steps"), LINES.items())
def test_a_line_says_what_a_stage_did(line, steps):
    """Which stage, with which result, and what it took where the line says that."""
    found = list(StageLines().read(NOW_S, f"Nov 29 08:42:03 mx {line}"))
    assert found == [
        Step(stage, result, None if took is None else pytest.approx(took)) for stage, result, took in steps
    ]


def scan(queue_id, begin, end, name="postfix/smtpd"):
    """The lines of a mail from its header to its way into the queue."""
    yield f"{begin} mx {name}[7]: {queue_id}: client={CLIENT}"
    yield f"{begin} mx postfix/cleanup[8]: {queue_id}: message-id=<1@example.org>"
    yield f"{end} mx postfix/qmgr[9]: {queue_id}: from=<a@example.org>, size=384, nrcpt=1 (queue active)"


def test_a_scan_takes_from_the_header_to_the_queue(tmp_path):
    """Of mail that comes in; what comes in behind the scanner and what asks the backend is not scanned."""
    lines = [
        *scan("4jcgcq00V8zMpbc", "2026-11-29T08:41:00.100000+00:00", "2026-11-29T08:41:00.350000+00:00"),
        *scan("4jcgcq00V8zMpbd", "2026-11-29T08:41:01+00:00", "2026-11-29T08:41:09+00:00", "postfix/release/smtpd"),
        "2026-11-29T08:41:02+00:00 mx postfix/cleanup[8]: 4jcgcd5xydzMpXh: message-id=<4jcgcd5xydzMpXh@mx.example.com>",
        "2026-11-29T08:41:03+00:00 mx postfix/qmgr[9]: 4jcgcd5xydzMpXh: from=<>, size=226, nrcpt=1 (queue active)",
    ]
    now_s = datetime.fromisoformat("2026-11-29T08:45:00+00:00").timestamp()
    found = counts(tmp_path, lines, now_s).since(slot_of(now_s) - 5).sums
    assert {key: (each.count, each.seconds) for key, each in found.items()} == {
        ("scanner", "passed"): (1, pytest.approx(0.25))
    }


def counts(directory, lines, now_s, clock=None):
    """Of a log with these lines."""
    path = directory / "mail.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    os.utime(path, (now_s, now_s))
    return StageCounts(lambda: LogFiles(str(path), now_s), clock or (lambda: now_s))


def delivered(at_s):
    """A line of a delivery."""
    return f"{at_s}.000000 mx postfix/smtp[7]: 4jcgch5wp8zMpZ7: {SENT} status=sent (250 2.0.0 Ok)"


def test_each_line_is_counted_once_however_often_it_is_asked(tmp_path):
    """Back in time as far as is asked, and on with what is new; what is younger than two seconds comes later."""
    now_s = 1_764_000_000
    ages = (1, 30, 500, 4000, 20_000, 90_000, 200_000, 2_000_000)
    clock = [now_s]
    found = counts(tmp_path, [delivered(now_s - age) for age in sorted(ages, reverse=True)], now_s, lambda: clock[0])

    def since(age):
        counted = found.since(slot_of(clock[0] - age), 30)
        assert (counted.trouble, counted.since_s) == ("", slot_of(clock[0] - age) * SLOT_S)
        return counted.sums["delivery", "passed"].count

    assert [since(age) for age in (600, 600, 5000, 86_400, 600)] == [2, 2, 3, 4, 2]
    assert since(30 * 86_400) == 7
    clock[0] += 10
    assert since(30 * 86_400) == 8
    assert found.since(slot_of(now_s), 30).begins_s == now_s - 2_000_000


def test_nobody_waits_for_what_others_have_asked_for(tmp_path):
    """Who wants the last hour has it while a month is read; and what is not counted yet is not said to be."""
    now_s = 1_764_000_000
    path = tmp_path / "mail.log"
    path.write_text(f"{delivered(now_s - 30)}\n")
    os.utime(path, (now_s, now_s))
    goes_on = threading.Event()

    class Slow(LogFiles):
        def lines_with(self, texts, since_s, until_s):
            if until_s < now_s - 7200:
                goes_on.wait()
            return super().lines_with(texts, since_s, until_s)

    found = StageCounts(lambda: Slow(str(path), now_s), lambda: now_s)
    try:
        assert found.since(slot_of(now_s) - 30 * 144, 0.1).since_s > now_s - 3 * 3600
        counted = found.since(slot_of(now_s) - 5, 30)
        assert (counted.since_s, counted.sums["delivery", "passed"].count) == ((slot_of(now_s) - 5) * SLOT_S, 1)
    finally:
        goes_on.set()
    assert found.since(slot_of(now_s) - 30 * 144, 30).since_s == (slot_of(now_s) - 30 * 144) * SLOT_S


def test_a_log_that_cannot_be_read_is_said_and_tried_again(tmp_path):
    """What is unknown is not 0, and a log that comes later is read."""
    now_s = 1_764_000_000
    found = counts(tmp_path, [delivered(now_s - 10)], now_s)
    (tmp_path / "mail.log").rename(tmp_path / "away")
    counted = found.since(slot_of(now_s) - 5)
    assert "cannot be read" in counted.trouble
    assert counted.is_empty
    (tmp_path / "away").rename(tmp_path / "mail.log")
    assert found.since(slot_of(now_s) - 5).sums["delivery", "passed"].count == 1


def test_no_log_is_no_count():
    """Where [history] mail_log is empty."""
    assert StageCounts(lambda: None).since(0) is None
