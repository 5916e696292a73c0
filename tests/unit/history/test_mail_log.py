# ruff: noqa: E501 - lines of logs are as long as they are.
"""What Postfix's log says about mails: lines of a time span, mails of lines, and the decisions of a mail."""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import os
import time
from datetime import UTC, datetime

import pytest

from forkpolicy.commands.history.looking import look
from forkpolicy.commands.history.mailing import mail
from forkpolicy.errors import UsageError
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.mail_log.files import LogFiles
from forkpolicy.history.mail_log.journal import Journal
from forkpolicy.history.mail_log.mails import mails_of, mails_with
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from tests.history_logs import NOON_S, begin, decision

LATER_S = NOON_S + 3600
DAY_S = 86400


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    """Postfix writes local time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def line(at_s, text):
    """A line as postlogd(8) writes it."""
    return f"{datetime.fromtimestamp(at_s, UTC):%b %e %H:%M:%S} mx postfix/{text}\n"


def mail_lines(at_s, queue_id, *, smtpd=0x6792, sender="a@example.org", to="b@example.com", status="sent (250 ok)"):
    """All that Postfix writes about a mail with one recipient."""
    return "".join(
        [
            line(at_s, f"smtpd[{smtpd}]: {queue_id}: client=mail.example.org[198.51.100.7]"),
            line(at_s, f"cleanup[9]: {queue_id}: message-id=<{queue_id}@example.org>"),
            line(at_s, f"qmgr[8]: {queue_id}: from=<{sender}>, size=400, nrcpt=1 (queue active)"),
            line(
                at_s + 1,
                f"smtp[7]: {queue_id}: to=<{to}>, relay=mx.example.net[192.0.2.9]:25, delay=1, status={status}",
            ),
            line(at_s + 1, f"qmgr[8]: {queue_id}: removed") if status.startswith("sent") else "",
        ]
    )


def write(path, text, at_s, opener=open):
    """A log, last written at that time."""
    with opener(path, "wb") as stream:
        stream.write(text.encode())
    os.utime(path, (at_s, at_s))


@pytest.fixture
def log(tmp_path):
    """Today's, and rotated ones, one a day, of each form."""
    for days, name, opener in (
        (0, "mail.log", open),
        (1, "mail.log.1", open),
        (2, "mail.log.2.gz", gzip.open),
        (3, "mail.log-20261125.xz", lzma.open),
    ):
        write(
            tmp_path / name, mail_lines(NOON_S - days * DAY_S, f"A00000000{days}"), NOON_S - days * DAY_S + 60, opener
        )
    write(tmp_path / "mail.log.old", mail_lines(NOON_S, "B000000000"), NOON_S)
    write(tmp_path / "mail.log.conf", mail_lines(NOON_S, "B000000000"), NOON_S)
    return LogFiles(str(tmp_path / "mail.log"), LATER_S)


def queue_ids(mails):
    """In their order."""
    return [each.queue_id for each in mails]


def test_rotated_and_compressed_files_are_read_within_the_span(log):
    """The newest mail first; files of other names and times are not opened."""
    assert queue_ids(mails_with(log, "B@example.com", 0, LATER_S)) == [f"A00000000{day}" for day in range(4)]
    assert queue_ids(mails_with(log, "b@example.com", NOON_S - 2.5 * DAY_S, NOON_S - DAY_S + 60)) == [
        "A000000001",
        "A000000002",
    ]
    assert mails_with(log, "nobody@example.com", 0, LATER_S) == []


def test_a_mail_has_everything_that_its_lines_say(log):
    """Client, sender, message id, delivery; and that it left the queue."""
    (found,) = mails_of(log, ["A000000000"], 0, LATER_S)
    (delivery,) = found.deliveries.values()
    assert (found.client, found.smtpd, found.sender, found.message_id) == (
        "198.51.100.7", 0x6792, "a@example.org", "A000000000@example.org")  # fmt: skip
    assert (delivery.recipient, delivery.relay, delivery.status) == (
        "b@example.com", "mx.example.net[192.0.2.9]:25", "sent (250 ok)")  # fmt: skip
    assert (found.began_s, found.ended_s, found.is_removed) == (NOON_S, NOON_S + 1, True)


def test_a_queue_id_that_was_given_twice_is_two_mails(tmp_path):
    """The second begins where the first had been removed."""
    write(
        tmp_path / "mail.log",
        mail_lines(NOON_S - 60, "A0").replace("A0", "A00000") + mail_lines(NOON_S, "A00000", sender="c@example.net"),
        NOON_S,
    )
    found = mails_of(LogFiles(str(tmp_path / "mail.log"), LATER_S), ["A00000"], 0, LATER_S)
    assert [each.sender for each in found] == ["a@example.org", "c@example.net"]


def test_a_large_file_is_read_from_the_span_on(tmp_path):
    """Its lines before are not read: 40 MB would take a while, three of its blocks do not."""
    quiet = line(NOON_S - DAY_S, "smtpd[1]: connect from unknown[203.0.113.1]") * 400_000
    later = "".join(
        line(NOON_S + second // 60, "smtpd[1]: connect from unknown[203.0.113.1]") for second in range(60_000)
    )
    write(tmp_path / "mail.log", quiet + mail_lines(NOON_S, "A000000000") + later, LATER_S)
    log, read = LogFiles(str(tmp_path / "mail.log"), LATER_S), 0
    inner = log._lines_in

    def counted(stream, *more):
        nonlocal read
        began = stream.tell()
        yield from inner(stream, *more)
        read += stream.tell() - began

    log._lines_in = counted
    assert queue_ids(mails_of(log, ["A000000000"], NOON_S - 5, NOON_S + 5)) == ["A000000000"]
    assert read < 5 << 20 < (tmp_path / "mail.log").stat().st_size


def test_a_log_that_is_missing_or_damaged_is_named(tmp_path):
    """With the setting that says which it is."""
    with pytest.raises(HistoryError, match=r"mail\.log cannot be read: no such file .*mail_log"):
        mails_with(LogFiles(str(tmp_path / "mail.log"), LATER_S), "a@b", 0, LATER_S)
    (tmp_path / "mail.log.2.gz").write_bytes(b"\x1f\x8b\x08torn")
    with pytest.raises(HistoryError, match=r"mail\.log\.2\.gz cannot be read"):
        mails_with(LogFiles(str(tmp_path / "mail.log"), LATER_S), "a@b", 0, LATER_S)


INSTANCE = f"6792.{int(NOON_S):x}.a28c3.0"


@pytest.fixture
def history(tmp_path):
    """Decisions of the mail A000000000, none of which had its queue id, and others of its client, sender and time."""
    lines = [
        decision(
            NOON_S - 600, code="0000trd00000", action="450 4.7.1 later", instance=f"6000.{int(NOON_S) - 600:x}.1.0"
        ),
        decision(NOON_S - 500, code="0000rfsd0000", instance=f"6001.{int(NOON_S) - 500:x}.1.0"),
        decision(NOON_S - 6 * DAY_S, code="0000bld00000", action="450 4.7.1 later", instance="1.1.1.0"),
        decision(NOON_S - 1, code="0000mlstg000", action="WARN", instance="", recipient="", protocol_state="MAIL"),
        decision(NOON_S, code="0000frst0000", action="WARN", instance=INSTANCE),
        decision(NOON_S, code="0000thr00000", action="WARN", instance=f"6793.{int(NOON_S):x}.1.0"),
        decision(NOON_S, code="0000thr00001", action="WARN", instance=INSTANCE, client_address="203.0.113.9"),
    ]
    lines = [each.replace(b"203.0.113.5", b"198.51.100.7") for each in lines]
    (tmp_path / "log.json").write_bytes(begin() + b"".join(lines))
    taken = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 30, print, lambda: LATER_S)
    taken.turn()
    taken.close()
    return History(str(tmp_path / "history"))


def test_a_queue_id_finds_decisions_that_had_none(history, log):
    """Surely those of the session that took the mail; probably what was asked at MAIL FROM, and the attempt before."""
    found = look(history, log, ["queue:A000000000"], 100, LATER_S)[1]
    assert [(each.id, each.is_sure) for each in found] == [
        ("0000frst0000", True),
        ("0000mlstg000", False),
        ("0000trd00000", False),
    ]  # fmt: skip


def test_a_pasted_line_finds_them_too(history, log):
    """By the queue id that it has."""
    text = line(NOON_S + 1, "smtp[7]: A000000000: to=<b@example.com>, relay=none, delay=1, status=sent (250 ok)")
    assert next(look(history, log, [text], 100, LATER_S)[1]).id == "0000frst0000"


def test_without_the_log_the_reason_is_printed(history, tmp_path, capsys):
    """And what the decisions themselves have is found all the same."""
    missing = LogFiles(str(tmp_path / "nowhere" / "mail.log"), LATER_S)
    assert list(look(history, missing, ["queue:A000000000"], 100, LATER_S)[1]) == []
    assert "the mail log" in capsys.readouterr().err


def test_a_transaction_over_midnight_is_one(tmp_path):
    """Days are files of their own; another transaction of the same client is another mail."""
    midnight_s = NOON_S - DAY_S / 2
    lines = [
        decision(midnight_s - 1, code="0000frst0000", instance="6792.1.1.0"),
        decision(midnight_s - 1, code="0000thr00000", instance="6792.1.1.1"),
        decision(midnight_s + 1, code="0000scnd0000", instance="6792.1.1.0", queue_id="A000000000"),
    ]
    (tmp_path / "log.json").write_bytes(begin() + b"".join(lines))
    taken = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 30, print, lambda: LATER_S)
    taken.turn()
    taken.close()
    found = look(History(str(tmp_path / "history")), None, ["queue:A000000000"], 100, LATER_S)[1]
    assert [(each.id, each.is_sure) for each in found] == [("0000scnd0000", True), ("0000frst0000", True)]


def became(history, log, capsys, *words, as_json=False):
    """What `history mail` prints, and its exit status."""
    given = argparse.Namespace(words=list(words), most=100, as_json=as_json)
    status = mail(history, log, given, LATER_S)
    return status, capsys.readouterr()


def test_what_became_of_mails_is_found_by_what_they_have(history, log, capsys):
    """Recipient, sender, domain, client, queue id, the id of a decision, a pasted line: the newest mail first."""
    line_of_today = (
        "2026-11-28T12:00:01.000Z  A000000000  198.51.100.7  a@example.org -> b@example.com  "
        "mx.example.net[192.0.2.9]:25: sent (250 ok)\n"
    )
    for words in (
        ["to:b@example.com", "from:a@example.org", "since:12h"],
        ["@example.com", "since:12h"],
        ["client:198.51.100.7", "since:12h"],
        ["from:example.org", "client:198.51.100.0/24", "since:12h"],
        ["queue:A000000000"],
        ["0000frst0000"],
        ["id:0000frst0000"],
        [decision(NOON_S, code="0000frst0000").decode()],
    ):
        status, printed = became(history, log, capsys, *words)
        assert (status, printed.out) == (0, line_of_today), words
    unknown = line(NOON_S + 1, "lmtp[7]: A000000002: to=<b@example.com>, relay=none, delay=1, status=deferred (no)")
    assert "  A000000002  " in became(history, log, capsys, unknown.replace("Nov 28", "Nov 26"))[1].out
    assert became(history, log, capsys, "to:b@example.com")[1].out.count("\n") == 4
    assert became(history, log, capsys, "to:b@example.com", "from:x@example.org")[0] == 1


def test_a_mail_that_waits_and_one_that_was_refused(history, log, tmp_path, capsys):
    """Each recipient's last line; nothing yet; and Postfix's refusals, which have no queue id."""
    waiting = mail_lines(
        NOON_S, "C000000000", to="w@example.com", status="deferred (connect to mx: Connection refused)"
    )
    new = line(NOON_S, "smtpd[5]: C000000001: client=x[203.0.113.5], sasl_method=PLAIN, sasl_username=ann")
    new += line(NOON_S, "qmgr[5]: C000000001: from=<n@example.org>, size=1, nrcpt=1 (queue active)")
    refused = line(
        NOON_S,
        "smtpd[5]: NOQUEUE: reject: RCPT from x[203.0.113.5]: 554 5.7.1 <w@example.com>: no; from=<> to=<w@example.com> proto=ESMTP",
    )
    write(tmp_path / "mail.log", waiting + new + refused, LATER_S)
    status, printed = became(history, log, capsys, "to:w@example.com", as_json=True)
    assert [(each["queue_id"], each["status"]) for each in map(json.loads, printed.out.splitlines())] == [
        ("C000000000", "deferred (connect to mx: Connection refused)"),
        (None, "refused (554 5.7.1 <w@example.com>: no)"),
    ]
    status, printed = became(history, log, capsys, "from:n@example.org")
    assert (status, printed.out) == (
        0,
        "2026-11-28T12:00:00.000Z  C000000001  203.0.113.5  n@example.org -> -  login ann  queued\n",
    )
    assert became(history, log, capsys, "login:ann")[1].out == printed.out


def test_a_search_that_takes_long_is_given_up(log):
    """With what to do; where nothing is found, too."""
    late = LogFiles(log.name, LATER_S, time.monotonic() - 1)
    with pytest.raises(HistoryError, match="was given up, as it took long: ask for a shorter time"):
        mails_with(late, "b@example.com", 0, LATER_S)


def test_a_journal_that_takes_long_is_given_up(tmp_path, monkeypatch):
    """Also one that says nothing at all: its program is ended."""
    program = tmp_path / "journalctl"
    program.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(HistoryError, match="the search of the journal was given up, as it took long"):
        list(Journal(give_up_s=time.monotonic() + 0.1).lines("b@example.com", 0, LATER_S))


CLIENT = "from x[203.0.113.5]"
ENVELOPE = "from=<a@example.org> to=<b@example.com> proto=ESMTP helo=<x>"


def test_a_refusal_of_one_recipient_of_several_is_found(tmp_path):
    """Once one was accepted, the line has the queue id of the mail; it is about its own recipient alone."""
    lines = line(NOON_S, "smtpd[5]: C000000001: client=x[203.0.113.5]")
    lines += line(NOON_S, f"smtpd[5]: C000000001: reject: RCPT {CLIENT}: 550 5.1.1 <b@example.com>: no; {ENVELOPE}")
    lines += line(NOON_S, "qmgr[5]: C000000001: from=<a@example.org>, size=1, nrcpt=1 (queue active)")
    lines += line(NOON_S, "smtp[5]: C000000001: to=<c@example.com>, relay=mx[192.0.2.1]:25, delay=1, status=sent (ok)")
    write(tmp_path / "mail.log", lines, LATER_S)
    (found,) = mails_with(LogFiles(str(tmp_path / "mail.log"), LATER_S), "b@example.com", 0, LATER_S)
    assert {each.recipient: each.status for each in found.deliveries.values()} == {
        "b@example.com": "refused (550 5.1.1 <b@example.com>: no)",
        "c@example.com": "sent (ok)",
    }
    assert found.refusal == ""


def test_a_mail_that_a_milter_refused_is_refused(tmp_path):
    """At its end, by a reply without a code of three digits; for a recipient that is not named, too."""
    lines = line(NOON_S, "smtpd[5]: C000000001: client=x[203.0.113.5]")
    lines += line(
        NOON_S, f"cleanup[5]: C000000001: milter-reject: END-OF-MESSAGE {CLIENT}: 5.7.1 Gtube pattern; {ENVELOPE}"
    )
    write(tmp_path / "mail.log", lines, LATER_S)
    (found,) = mails_of(LogFiles(str(tmp_path / "mail.log"), LATER_S), ["C000000001"], 0, LATER_S)
    (delivery,) = found.deliveries.values()
    assert (delivery.status, found.refusal, found.sender) == (
        "refused (5.7.1 Gtube pattern)", "5.7.1 Gtube pattern", "a@example.org")  # fmt: skip
    assert found.smtpd == 5


@pytest.mark.parametrize(
    "text",
    [
        f"NOQUEUE: reject_warning: RCPT {CLIENT}: 554 5.7.1 <b@example.com>: no; {ENVELOPE}",
        f"NOQUEUE: filter: RCPT {CLIENT}: <b@example.com>: Recipient address triggers FILTER x:y; {ENVELOPE}",
        f"NOQUEUE: hold: RCPT {CLIENT}: <b@example.com>: Recipient address triggers HOLD action; {ENVELOPE}",
        f"NOQUEUE: redirect: RCPT {CLIENT}: <b@example.com>: triggers REDIRECT x@example.com; {ENVELOPE}",
    ],
)
def test_what_only_looks_like_a_refusal_is_none(tmp_path, text):
    """A warning of warn_if_reject, and actions that let a mail go on."""
    write(tmp_path / "mail.log", line(NOON_S, f"smtpd[5]: {text}"), LATER_S)
    assert mails_with(LogFiles(str(tmp_path / "mail.log"), LATER_S), "b@example.com", 0, LATER_S) == []


def test_words_that_no_mail_has_are_named(history, log, capsys):
    """And a host without a log."""
    for words in (["rule:policy.conf:7", "to:b@example.com"], ["since:2h"]):
        with pytest.raises(UsageError, match=r"history find knows|expected to:"):
            became(history, log, capsys, *words)
    with pytest.raises(UsageError, match="--mail-log"):
        became(history, None, capsys, "to:b@example.com")
