"""Decisions, lines of Postfix's log and rows of the store become mails, one a recipient, each in one state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forkpolicy.console.tracking.timeline import Decided, Known, events_of, state_words
from forkpolicy.console.tracking.tracked import STATES, Line, state_of, tracked
from forkpolicy.gateway.store_messages import HeldMail, HeldRow
from forkpolicy.history.mail_log.mails import Delivery, Mail
from forkpolicy.history.search import Found
from forkpolicy.translations import translate

NOW_S = 1_800_000_000.0
PID = 0x6792
ROW = HeldRow(
    7, NOW_S + 1, "a@example.org", "Anna@example.com", "Hello", "A <a@example.org>", 900, "spam", "HOLD", 7.5, "",
    "203.0.113.5", "mail.example.org", "mail", "QID1", "held", NOW_S + 1, "policy",
)  # fmt: skip


def say(text, /, **values):
    """In English."""
    return translate("en", text, **values)


def decision(at_s=0.0, verb="DUNNO", *, recipient="anna@example.com", sender="a@example.org", pid=PID, code="", **more):
    """One that was made so long after NOW_S, in a transaction that began then."""
    fields = {
        "day": "2027-01-15", "id": code or f"{verb}{at_s}", "at_ms": int((NOW_S + at_s) * 1000), "rule": "p.conf:7",
        "verb": verb, "acls": "bad", "host": "mx1", "in_force": "x", "client": "203.0.113.5", "sender": sender,
        "recipient": recipient, "login": None, "queue_id": None, "instance": f"{pid:x}.{int(NOW_S + at_s):x}.0.0",
        "block": 0, "line": 0, "is_cut": False,
    }  # fmt: skip
    return Found(**{**fields, **more})


def line(status, at_s=0.0, *, queue_id="QID1", recipient="anna@example.com", relay="", began_s=None, pid=PID, **more):
    """About one recipient of a mail."""
    began_s = NOW_S + (at_s if began_s is None else began_s)
    fields = {"client": "203.0.113.5", "sender": "a@example.org", **more}
    mail = Mail(queue_id, began_s, NOW_S + at_s, pid, **fields)
    return Line(mail, Delivery(NOW_S + at_s, recipient, "", relay, status))


def refused(reply, at_s=0.0, **more):
    """A refusal without a queue id."""
    return line(f"refused ({reply})", at_s, queue_id="", **more)


def texts(mail, **known):
    """What the timeline of a mail says."""
    return [each.text for each in events_of(say, mail, Known(**known))]


def test_a_refusal_and_its_decision_are_one_event_of_one_mail():
    """By the session, the sender and the recipient; the decision has the reason."""
    (mail,) = tracked([decision(0.4, "REJECT", code="c")], [refused("554 5.7.1 no", 0)], [])
    assert (mail.state, len(mail.decisions), len(mail.lines)) == ("refused", 1, 1)
    assert texts(mail, decided={"c": Decided("REJECT 5.7.1 no")}) == ["The rules refused it: 5.7.1 no"]


def test_a_refusal_of_postfix_alone_is_said_by_its_line():
    """What the rules let through, and the next server did not know."""
    (mail,) = tracked([decision(-3)], [refused("550 5.1.1 unknown", 0)], [])
    assert mail.state == "refused"
    assert texts(mail) == ["The rules let it through.", "The mail server refused it: 550 5.1.1 unknown"]


@pytest.mark.parametrize(
    "other",
    [
        {"recipient": "ben@example.com"},
        {"sender": "b@example.org"},
        {"client": "203.0.113.6"},
        {"instance": f"1.{int(NOW_S):x}.0.0"},
        {"at_ms": int((NOW_S - 2000) * 1000), "instance": f"{PID:x}.{int(NOW_S - 2000):x}.0.0"},
    ],
)
def test_a_decision_about_another_mail_is_not_of_this_one(other):
    """Another recipient, sender, client, process, or long before."""
    every = tracked([replace(decision(0, "REJECT"), **other)], [refused("554 5.7.1 no")], [])
    assert len(every) == 2


def test_of_two_sessions_of_one_process_each_has_its_own_decisions():
    """The same smtpd takes one mail after the other, of the same sender to the same recipient."""
    lines = [line("sent (ok)", 0, queue_id="QID1"), line("sent (ok)", 60, queue_id="QID2")]
    second, first = tracked([decision(-0.5, code="1"), decision(59.5, code="2")], lines, [])
    assert ([each.id for each in first.decisions], first.queue_ids) == (["1"], ["QID1"])
    assert ([each.id for each in second.decisions], second.queue_ids) == (["2"], ["QID2"])


def test_a_mail_in_the_store_has_its_row_its_arrival_and_the_copy_that_was_sent_on():
    """By the queue ids of both."""
    row = replace(ROW, state="sent", new_queue_id="QID9")
    lines = [
        line("sent (250 held)", 1, relay="mx[private/store-spam]", began_s=0),
        line("sent (250 ok)", 20, queue_id="QID9", recipient="Anna@example.com", relay="backend[192.0.2.5]:25"),
    ]
    (mail,) = tracked([decision(-0.5), decision(0.9, "HOLD", queue_id="QID1", code="s")], lines, [row])
    assert (mail.state, mail.queue_ids) == ("delivered", ["QID1", "QID9"])
    events = (
        (NOW_S + 1, "policy", "held: HOLD"),
        (NOW_S + 9, "anna", "released"),
        (NOW_S + 10, "release", "sent: 250"),
    )
    whole = HeldMail(row, "", (("BAD", 8.0), ("NOTHING", 0.0)), events)
    assert texts(mail, held={7: whole}, decided={"s": Decided("HOLD", is_of_store=True)}) == [
        "The rules let it through.",
        "The mail server took it from 203.0.113.5.",
        "The rules were asked again, and hold it back.",
        "The scanner gave it 7.5 points.",
        "Held. The scanner takes it for spam: it has 7.5 points.",
        "Released by anna.",
        "Sent on.",
        "Delivered: 250 ok",
    ]


def test_attempts_that_were_put_off_are_of_the_mail_that_came_at_last():
    """In their order, also where clients differ; a refused one stays a mail of its own."""
    decisions = [decision(0, "DEFER_IF_PERMIT"), decision(300, "DEFER_IF_PERMIT", pid=9), decision(900, pid=10)]
    (mail,) = tracked(decisions, [line("sent (ok)", 901, pid=10)], [])
    assert (len(mail.decisions), mail.state) == (3, "delivered")
    assert len(tracked([decision(0, "REJECT"), *decisions[1:]], [], [])) == 2


def test_a_bounce_is_another_mail_where_the_client_is_another():
    """Many have no sender."""
    decisions = [decision(0, "DEFER", sender="", client="192.0.2.1"), decision(60, "DUNNO", sender="", pid=9)]
    assert len(tracked(decisions, [], [])) == 2


def test_a_later_attempt_that_was_refused_is_the_last_word():
    """Where the log has no line about it."""
    (mail,) = tracked([decision(60, "REJECT")], [refused("450 4.2.0 later", 0)], [])[:1]
    assert mail.state == "refused"


def test_a_probe_of_an_address_is_no_mail():
    """Postfix asks the next server whether it knows a recipient."""
    assert tracked([], [line("deliverable (250 ok)"), line("undeliverable (550 no)")], []) == []


def test_a_mail_whose_recipients_the_log_does_not_say_is_that_of_its_decision():
    """It has a queue id, and nothing was tried yet."""
    (mail,) = tracked([decision(-0.5)], [line("queued", 5, recipient="", began_s=0)], [])
    assert (mail.recipient, mail.state) == ("anna@example.com", "queued")
    (other,) = tracked([], [line("queued", 5, recipient="", began_s=0)], [])
    assert other.recipient == ""


def test_a_decision_about_all_recipients_is_of_each():
    """At DATA there is none, or several."""
    lines = [line("sent (ok)", 1, began_s=0), line("sent (ok)", 1, began_s=0, recipient="ben@example.com")]
    every = tracked([decision(0.5, recipient=None, queue_id="QID1")], lines, [])
    assert [len(each.decisions) for each in every] == [1, 1]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("sent (250 ok)", "delivered"),
        ("deferred (connect: refused)", "waits"),
        ("bounced (550 no)", "returned"),
        ("expired", "returned"),
        ("refused (450 4.7.1 later)", "put off"),
        ("refused (554 5.7.1 no)", "refused"),
        ("refused (4.7.1 later)", "put off"),
        ("queued", "queued"),
        ("removed", "unknown"),
    ],
)
def test_the_last_line_says_where_a_mail_is(status, state):
    """By its word."""
    assert state_of(status) == state


def test_every_state_has_words():
    """Of its own."""
    assert len({state_words(say, each) for each in STATES}) == len(STATES)


def test_what_the_store_has_taken_without_a_row_is_not_called_held():
    """It may have been sent on, and be over."""
    (mail,) = tracked([], [line("sent (250 held)", 1, relay="mx[private/store-spam]", began_s=0)], [])
    assert mail.state == "stored"


@pytest.mark.parametrize("sees_server", [True, False])
def test_sockets_of_the_server_are_for_those_who_see_it(sees_server):
    """Whose mail it is reads that it waits, and why, without names from inside."""
    status = "deferred (connect to gw.example.com[private/store-spam]: No such file or directory)"
    (mail,) = tracked([], [line(status, 1, began_s=0, client="")], [])
    known = {"waiting": {("QID1", "anna@example.com"): "connect to gw[private/store]: refused"}}
    said = " ".join(texts(mail, **known, sees_server=sees_server))
    assert ("private/" in said) == sees_server
    assert "No such file or directory" in said
    assert ": refused" in said


@pytest.mark.parametrize(
    "what", ["goes on: OK", "refused: 550 no", "delivered: 250", "waits: away", "deleted", "expired: 30 days", "other"]
)
def test_every_event_of_the_store_is_said(what):
    """In words of a person, and an unknown one as it stands there."""
    (mail,) = tracked([], [], [replace(ROW, spam_score=None)])
    (text,) = texts(mail, held={7: HeldMail(mail.held, "", (), ((NOW_S, "ann", what),))})
    assert text == "other" if what == "other" else text[0].isupper()
