"""`explain`: line by line what each ACL said and why, from real tables, for eyes and for tools."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from forkpolicy.commands import main
from forkpolicy.errors import StateError
from forkpolicy.history.log_lines import read_line
from forkpolicy.log import LogPipe
from forkpolicy.policy.answers import peeking
from forkpolicy.policy.policy import Policy
from forkpolicy.state import map_file
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.memory import MemoryStore
from forkpolicy.state.questions.rate import Limit, Rate
from tests.compiling import Compiler

POLICY = """\
table  nets  cidr    nets
table  doms  domain  doms
table  gone  key     gone
acl    from_inside  client_address  table:nets
acl    from_us      sender          table:doms
acl    to_us        recipient       @example.com
acl    signed_in    authenticated
acl    big          size            >1000
acl    named        helo_name       /^mail[0-9]/
acl    listed       sasl_username   table:gone
acl    newer        brand_new       yes
acl    office       time            08:00-17:00 tz=UTC
acl    heavy        score           >=2
action pass         DUNNO
action note         log  big from {sender}
action weigh        score +2.5
action prove_it     REJECT 5.7.1 Authentication required to send as {sender_domain}
action busy         DEFER later
access from_inside pass
access big note
access named weigh
access from_us to_us !signed_in prove_it
access newer listed busy
access heavy office busy
access listed to_us busy
"""
LINES = {
    name: number for number, name in enumerate(("inside", "big", "named", "forged", "newer", "heavy", "listed"), 19)
}
FORGED = ("client_address=203.0.113.9", "sender=a@Example.COM.", "recipient=b@example.com")


@pytest.fixture
def explain(tmp_path, capsys, monkeypatch):
    """Run the command with compiled tables; `typed` is its standard input."""
    compiler = Compiler(tmp_path, capsys)
    compiler.policy(POLICY)
    compiler.source("nets", "192.0.2.0/24 office\n192.0.2.128/25 lab\n")
    compiler.source("doms", "# ours\nexample.com\n.example.net\n")
    assert compiler.run("nets", "doms").status == 0

    def run(*words, typed=None):
        if typed is not None:
            monkeypatch.setattr(sys, "stdin", None)
            read_end, write_end = os.pipe()
            os.write(write_end, typed)
            os.close(write_end)
            saved = os.dup(0)
            os.dup2(read_end, 0)
        try:
            status = main(["explain", "-c", str(compiler.settings), *words])
        finally:
            if typed is not None:
                os.dup2(saved, 0)
                os.close(read_end)
                os.close(saved)
        said = capsys.readouterr()
        return status, said.out, said.err

    run.folder = tmp_path
    return run


def rows(text):
    """The lines of an explanation with their runs of blanks as one."""
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


def test_the_deciding_line_and_what_made_each_acl_hold(explain):
    """The action, the rule, per ACL its answer, the attribute, and the entry with its source and line."""
    status, text, _ = explain(*FORGED)
    said = rows(text)
    folder = explain.folder
    assert status == 0
    assert said[0] == "action=REJECT 5.7.1 Authentication required to send as Example.COM"
    at = said.index(f"{folder}/policy.conf:{LINES['forged']}: access from_us to_us !signed_in prove_it <- decided")
    seen = "sender=a@Example.COM. (rewritten: a@Example.COM)"
    assert said[at + 1] == f"from_us yes {seen}: example.com in table doms ({folder}/doms:2)"
    assert said[at + 2] == f"to_us yes recipient=b@example.com: @example.com ({folder}/policy.conf:6)"
    assert said[at + 3].startswith("!signed_in yes sasl_username=")


def test_a_term_says_whether_it_is_met_and_not_what_its_acl_says(explain):
    """Behind a `!` the two differ: `yes` stands next to every term of the line that fired, `no` beside what kept one
    from firing, with the value and what it was found in.
    """
    (explain.folder / "policy.conf").write_text(
        "table nets cidr nets\nacl inside client_address table:nets\nacl us sender @example.com\n"
        "acl heavy score >=2\naction no REJECT\naccess heavy no\naccess !inside us no\n"
    )
    for address, met in (("203.0.113.9", "yes"), ("192.0.2.200", "no")):
        _, text, _ = explain(f"client_address={address}", "sender=a@example.com")
        assert f"!inside {met} client_address={address}" in "\n".join(rows(text))
        assert "heavy no score 0" in rows(text)
    assert "!inside no client_address=192.0.2.200: 192.0.2.128/25 lab in table nets" in "\n".join(rows(text))
    _, said, _ = explain("client_address=203.0.113.9", "sender=a@example.com", "--json")
    (inside, us) = json.loads(said)["lines"][-1]["acls"]
    assert (inside["met"], inside["answer"], us["met"]) == ("yes", "does not hold", "yes")


def test_terms_of_an_any_stand_below_it(explain):
    """Those that were asked, up to the first that is met; only their attributes count as not given."""
    (explain.folder / "policy.conf").write_text(
        "table nets cidr nets\nacl inside client_address table:nets\nacl login authenticated\nacl big size >9\n"
        "acl out any !inside\nacl trusted any login inside big\nacl odd any big out\naction no REJECT\n"
        "access trusted odd no\n"
    )
    _, text, _ = explain("client_address=192.0.2.9", "sasl_username=", "sasl_method=", "protocol_state=RCPT")
    (inside,) = (each for each in text.splitlines() if each.startswith("    inside"))
    assert " yes " in inside
    assert f"192.0.2.0/24 office in table nets ({explain.folder}/nets:1)" in inside
    assert [each[:20].rstrip() for each in text.splitlines()[3:]] == [
        "  trusted      yes",
        "    login      no",
        "    inside     yes",
        "  odd          canno",
        "    big        canno",
        "    out        no",
        "      !inside  no",
        "not given, taken as",
    ]
    assert {"trusted yes inside is met", "odd cannot be known big cannot be known"} <= set(rows(text))
    assert rows(text)[-1] == "not given, taken as empty: size"
    _, said, _ = explain("client_address=203.0.113.9", "--json")
    (trusted,) = json.loads(said)["lines"][0]["acls"]
    assert [(each["name"], each["met"]) for each in trusted["terms"]] == [
        ("login", "no"),
        ("inside", "no"),
        ("big", "cannot be known"),
    ]
    assert (trusted["met"], trusted["reason"]) == ("cannot be known", "big cannot be known")


def test_the_value_of_an_entry_is_shown(explain):
    """The most specific network, with the value that templates would put in."""
    _, text, _ = explain("client_address=192.0.2.200", "sender=x@elsewhere.example")
    assert f"192.0.2.128/25 lab in table nets ({explain.folder}/nets:2)" in text


def test_lines_after_the_decision_are_not_looked_at_unless_asked_for(explain):
    """`--all` goes on past the deciding line; the decision stays the same."""
    _, text, _ = explain("client_address=192.0.2.1", "sender=x@example.com")
    assert f"policy.conf:{LINES['inside'] + 1}" not in text
    _, everything, _ = explain("client_address=192.0.2.1", "sender=x@example.com", "--all")
    assert rows(everything)[0] == "action=DUNNO"
    for number in LINES.values():
        assert f"policy.conf:{number}: access" in everything
    assert everything.count("<- decided") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("protocol_state=EHLO", "helo_name=x"),
            "from_us cannot be known sender is not known at EHLO, but always at MAIL, RCPT, DATA, ",
        ),
        (
            ("protocol_state=DATA", "sender=a@example.com", "recipient="),
            "to_us cannot be known recipient is not known at DATA, but always at RCPT; with a value at DATA, ",
        ),
        (
            ("protocol_state=RCPT", "size=0"),
            "big cannot be known size is not known at RCPT, but always at END-OF-MESSAGE; with a value at MAIL, ",
        ),
        (("protocol_state=RCPT",), "big cannot be known size is not known at RCPT, "),
        (("protocol_state=RCPT",), "newer cannot be known brand_new: the request has no such attribute"),
        (("protocol_state=",), "named cannot be known helo_name is not known at no state, "),
    ],
    ids=["sender", "recipient", "size", "no-size", "unheard-of", "no-state"],
)
def test_what_cannot_be_known_says_since_when_it_could(explain, words, told):
    """The attribute that is missing, at which state, at which states it is there, and from which Postfix on."""
    _, text, _ = explain(*words)
    assert any(told in row for row in rows(text))


def test_an_attribute_that_the_request_lacks_says_which_postfix_sends_it(explain):
    """An older Postfix is the other reason why something cannot be known."""
    assert "(Postfix 2.2 and later)" in explain("client_address=203.0.113.9")[1]
    assert "(Postfix 2.2 and later)" not in explain("client_address=203.0.113.9", "size=0")[1]


def test_a_table_that_cannot_be_read_is_told(explain):
    """If the rest of its line holds the answer is on_error, with the cause; the line is named."""
    _, text, _ = explain("client_address=203.0.113.9", "sasl_username=u", "recipient=b@example.com")
    said = rows(text)
    assert said[0] == "action=DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"
    assert said[1].startswith("answered with on_error: acl listed: /")
    assert said[1].endswith("gone.lmdb does not exist: compile it with forkpolicy-compile gone")
    assert any(row.endswith("access listed to_us busy <- decided") for row in said)
    assert any(row.startswith("listed failed /") for row in said)


def test_log_and_score_lines_fire_and_go_on(explain):
    """They are marked, and the score is said."""
    _, text, _ = explain(
        "client_address=203.0.113.9", "size=2000", "helo_name=mail7", "sender=x@y.example", "recipient="
    )
    said = rows(text)
    assert f"{explain.folder}/policy.conf:{LINES['big']}: access big note (fired)" in said
    assert f"{explain.folder}/policy.conf:{LINES['named']}: access named weigh (fired)" in said
    assert "score 2.5" in said


def test_json_has_the_same_for_tools(explain):
    """One object a request, one a line."""
    _, text, _ = explain(*FORGED, "protocol_state=RCPT", "--json")
    (said,) = [json.loads(line) for line in text.splitlines()]
    policy = f"{explain.folder}/policy.conf"
    assert said["action"] == "REJECT 5.7.1 Authentication required to send as Example.COM"
    assert (said["verb"], said["failure"], said["noted"]) == ("REJECT", "", [])
    text = "access from_us to_us !signed_in prove_it"
    assert said["decided_by"] == {"path": policy, "line": LINES["forged"], "text": text}
    line = said["lines"][-1]
    assert (line["line"], line["fired"], line["failed"]) == (LINES["forged"], True, False)
    from_us, _, signed_in = line["acls"]
    assert from_us["answer"] == "holds"
    assert from_us["found"]["entry"] == {
        "key": "example.com",
        "value": None,
        "source": f"{explain.folder}/doms",
        "line": 2,
    }
    assert (signed_in["negated"], signed_in["answer"], signed_in["found"]) == (True, "does not hold", None)
    big = said["lines"][LINES["big"] - LINES["inside"]]["acls"][0]
    assert (big["answer"], big["reason"]) == ("cannot be known", "size")
    assert big["known_at"] == ["END-OF-MESSAGE"]
    assert big["known_with_a_value_at"] == ["MAIL", "RCPT", "DATA", "VRFY"]
    assert big["postfix_since"] == "2.2"


REQUEST = b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.1\nsender=%s\n\n"


def test_requests_as_postfix_sends_them(explain):
    """From a file and from standard input: several, each its own explanation."""
    content = REQUEST % b"a@example.com" + REQUEST % b"b@example.com"
    path = explain.folder / "requests"
    path.write_bytes(content)
    for said in (explain(str(path)), explain(typed=content), explain("-", typed=content)):
        assert said[0] == 0
        assert said[1].count("action=DUNNO") == 2
    assert len(explain("--json", str(path))[1].splitlines()) == 2


def test_a_line_of_the_decision_log(explain):
    """Pasted from the log: the same request, at the time at which it was asked."""
    attributes = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "helo_name": "mail1",
        "client_address": "x",
    }
    for hour, office in ((9, "yes"), (20, "no")):
        time = f"2026-11-25T{hour:02}:30:00.000Z"
        line = json.dumps({"time": time, "event": "decision", "request": attributes})
        _, text, _ = explain(typed=line.encode())
        (row,) = [row for row in rows(text) if row.startswith("office")]
        assert row.startswith(f"office {office}")
        assert f"Wednesday {hour:02}:30 UTC" in row


@pytest.mark.parametrize(("day", "holds"), [("2026-12-24", "yes"), ("2027-01-07", "no")])
def test_a_date_is_explained_with_the_day_of_the_request(explain, day, holds):
    """The value that holds, or what day it was where none does."""
    (explain.folder / "policy.conf").write_text(
        "acl feast date 12-24..01-06 tz=UTC\naction later DEFER\naccess feast later\n"
    )
    attributes = {"request": "smtpd_access_policy", "protocol_state": "RCPT"}
    line = json.dumps({"time": f"{day}T09:30:00.000Z", "event": "decision", "request": attributes})
    (row,) = [row for row in rows(explain("--all", typed=line.encode())[1]) if row.startswith("feast ")]
    shown = "12-24..01-06 at" if holds == "yes" else "it is"
    assert row.startswith(f"feast {holds} {shown} {day} 09:30 UTC")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no request: it is empty"),
        (b"sender=a@example.com\n\n", "request 1: expected a line request=smtpd_access_policy"),
        (REQUEST % b"a" + b"request=other\n\n", "request 2: expected a line request=smtpd_access_policy"),
        (b"hello\n", "neither policy requests"),
        (b'{"event":"started"}\n', "has no decision"),
    ],
    ids=["empty", "first", "second", "other", "log"],
)
def test_what_is_no_request_is_told(explain, content, told):
    """Which one, and what was expected; never a traceback."""
    status, _, said = explain(typed=content)
    assert status == 2
    assert told in said


def test_attributes_on_the_command_line_are_checked(explain):
    """A word that is not an attribute is wrong usage; one that the policy reads may be of a Postfix to come."""
    assert explain("brand_new=yes")[2] == ""
    status, _, said = explain("client_address=192.0.2.1", "sender")
    assert status == 2
    assert '"sender": expected attributes' in said


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("client=192.0.2.1", 'did you mean "client_address"?'),
        ("from=a@example.com", 'did you mean "sender"?'),
        ("to=a@example.com", 'did you mean "recipient"?'),
        ("client_adress=192.0.2.1", 'did you mean "client_address"?'),
        ("colour=green", "known are request, protocol_state"),
        ("sender=<a@example.com>", "without angle brackets, as Postfix sends it: sender=a@example.com"),
        ("sender=<>", "without angle brackets, as Postfix sends it: sender="),
        ("helo_name=<mail.example.com>", "without angle brackets"),
        ("sender=@example.com", "is not a mail address but a pattern"),
        ("recipient=a@example.com,b@example.com", "is not a valid mail address"),
        ("client_address=1.2.3", '"1.2.3" is not a valid IP address'),
        ("client_address=192.0.2.0/24", "is not a valid IP address"),
        ("client_address=[192.0.2.1]", "without brackets: 192.0.2.1"),
        ("server_address=mx.example.com", "is not a valid IP address"),
        ("size=10M", "expected a number"),
        ("protocol_state=rcpt", 'did you mean "RCPT"?'),
        ("protocol_state=QUEUE", "expected one of CONNECT, "),
    ],
)
def test_what_postfix_could_not_have_sent_is_refused(explain, word, told):
    """An answer to another question would be taken for an answer: the word, what is wrong with it, what was meant."""
    status, out, said = explain("protocol_name=ESMTP", word)
    assert (status, out) == (2, "")
    assert f'"{word}": ' in said
    assert told in said


@pytest.mark.parametrize("word", ["sender=", "sender=boss", "client_address=::1", "client_address=unknown", "size=0"])
def test_what_postfix_can_send_is_taken(explain, word):
    """The null sender, an address without a domain, a client that nobody knows."""
    assert explain(word)[0] == 0


def test_an_attribute_given_twice_is_refused(explain):
    """Only one of them could count."""
    assert "sender is given twice" in explain("sender=a@example.com", "sender=b@example.com")[2]


def test_what_was_not_given_is_said(explain):
    """Of the attributes that the decision asked for: they are taken as empty, and a real request may say more."""
    _, text, _ = explain(*FORGED, "size=1", "helo_name=x")
    assert rows(text)[-1] == "not given, taken as empty: sasl_username, sasl_method"
    assert json.loads(explain(*FORGED, "--json")[1])["not_given"] == [
        "size",
        "helo_name",
        "sasl_username",
        "sasl_method",
    ]
    _, everything, _ = explain(*FORGED, "size=1", "helo_name=x", "sasl_username=", "sasl_method=")
    assert "not given" not in everything


DECISION = {
    "state": "RCPT",
    "client": "203.0.113.9",
    "sender": "a@example.com",
    "recipient": "b@example.com",
    "sasl_username": "",
    "queue_id": "",
}


@pytest.mark.parametrize("style", ["logfmt", "json"])
@pytest.mark.parametrize("way", ["argument", "typed", "journal"])
def test_a_decision_without_its_request(explain, style, way):
    """A line that names client, sender and recipient is enough to ask again; what it lacks is said."""
    line = LogPipe(-1, style).line("info", "decision", action='REJECT "why"', line="policy.conf:1", **DECISION)[:-1]
    if way == "journal":
        line = json.dumps({"__REALTIME_TIMESTAMP": "1795837379198612", "MESSAGE": list(line)}).encode()
    _, text, _ = explain(line.decode()) if way == "argument" else explain(typed=line + b"\n")
    assert rows(text)[0] == "action=REJECT 5.7.1 Authentication required to send as example.com"
    assert rows(text)[-1] == "not given, taken as empty: size, helo_name, sasl_method"


REJECTED = (
    "2026-11-25T20:30:00.123456+00:00 mx postfix/smtpd[711]: NOQUEUE: reject: RCPT from unknown[203.0.113.9]:4711: "
    '554 5.7.1 <b@example.com>: Recipient address rejected: from=<x> helo=<y>; from=<"a \\"b"@example.com> '
    "to=<b@example.com> proto=ESMTP helo=<mail1.example.org>"
)


@pytest.mark.parametrize("way", ["argument", "typed"])
def test_a_line_in_which_postfix_rejects(explain, way):
    """As grep finds it in the mail log: client, envelope and HELO name, at the time of the line."""
    _, text, _ = explain("--json", REJECTED) if way == "argument" else explain("--json", typed=REJECTED.encode())
    said = json.loads(text)
    assert said["verb"] == "REJECT"
    shown = {name: value for line in said["lines"] for acl in line["acls"] for name, value in acl["attributes"].items()}
    assert (shown["client_address"], shown["sender"]) == ("203.0.113.9", 'a "b@example.com')
    assert (shown["recipient"], shown["helo_name"]) == ("b@example.com", "mail1.example.org")
    assert "Wednesday 20:30 UTC" in explain("--all", REJECTED)[1]


@pytest.mark.parametrize(
    ("line", "attributes"),
    [
        (
            "NOQUEUE: reject: CONNECT from x.example[192.0.2.1]: 554 5.7.1 <x.example[192.0.2.1]>: no; proto=SMTP",
            {"protocol_state": "CONNECT", "client_name": "x.example", "client_address": "192.0.2.1"},
        ),
        (
            "4F1Z2y3XkQz9: reject: END-OF-MESSAGE from x[2001:db8::1]: 550 no; from=<> to=<b@y> sasl_username=anna",
            {"queue_id": "4F1Z2y3XkQz9", "sender": "", "sasl_username": "anna", "client_address": "2001:db8::1"},
        ),
        (
            "NOQUEUE: reject: RCPT from [192.0.2.1]:46282: 550 no; from=<a@x>, to=<b@y>, proto=ESMTP, helo=<y>",
            {"sender": "a@x", "recipient": "b@y", "helo_name": "y", "client_port": "46282"},
        ),
        (
            "NOQUEUE: reject_warning: RCPT from x[192.0.2.1]: 554 no; from=<a@example.com> to=<b@example.com>",
            {"sender": "a@example.com", "protocol_state": "RCPT"},
        ),
        (
            "NOQUEUE: reject: RCPT from x[192.0.2.1]: 554 no sasl_username=root here; from=<a@x> to=<b@y> proto=ESMTP",
            {"sender": "a@x", "recipient": "b@y", "sasl_username": None},
        ),
    ],
    ids=["connect", "end", "postscreen", "warning", "text-like-an-envelope"],
)
def test_forms_of_rejections(line, attributes):
    """Each state, postscreen(8), and what warn_if_reject writes; our own text is not part of the envelope."""
    found = read_line(line.encode()).attributes
    assert {name: found.get(name) for name in attributes} == attributes


@pytest.mark.parametrize(
    "line",
    [
        "postfix/smtpd[711]: connect from unknown[203.0.113.9]",
        "postfix/smtpd[711]: 4F1Z2y3XkQz9: client=x.example[192.0.2.1]",
        "postfix/qmgr[12]: 4F1Z2y3XkQz9: from=<a@example.com>, size=300, nrcpt=1 (queue active)",
        "postfix/smtp[12]: 4F1Z2y3XkQz9: to=<a@example.com>, relay=x[192.0.2.1]:25, status=sent (250 ok)",
    ],
)
def test_other_lines_of_postfix_are_no_requests(line):
    """They name addresses, too."""
    assert read_line(line.encode()).attributes is None


def test_nothing_in_a_request_reaches_the_terminal_as_it_is(explain):
    """Escape sequences, bytes that are no UTF-8, characters that turn the text around: shown, not obeyed."""
    _, text, _ = explain(typed=REQUEST.replace(b"192.0.2.1", b"1\x1b[31m\xe4\xe2\x80\xae\xf0\x9d\x85\xb4") % b"a@b")
    assert r"client_address=1\x1b[31m\xe4\u202e\U0001d174" in text
    assert text.replace("\n", "").isprintable()


def test_long_policies_show_what_matters(explain):
    """Of many lines those are shown that fired or got past their first ACL; the others are counted."""
    lines = "".join(f"acl r{n} recipient r{n}@example.org\naccess r{n} pass\n" for n in range(50))
    (explain.folder / "policy.conf").write_text("action pass DUNNO\n" + lines)
    _, text, _ = explain("recipient=r40@example.org")
    assert "(40 more rules whose first term is not met)" in text
    assert len(text.splitlines()) == 4


def on_a_terminal(command, **environment):
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        done = subprocess.Popen(command, stdout=theirs, env={**os.environ, **environment})
        os.close(theirs)
        seen = b""
        try:
            while data := terminal.read(4096):
                seen += data
        except OSError:  # Linux says EIO where the other end is closed
            pass
        assert done.wait(10) == 0
    return seen.decode()


def test_a_terminal_gets_colours_and_a_pipe_does_not(explain):
    """Met is green, what cannot be known yellow, the decision bold; NO_COLOR and a pipe get plain text."""
    command = [sys.executable, "-m", "forkpolicy", "explain", "-c", str(explain.folder / "forkpolicy.toml"), *FORGED]
    coloured = on_a_terminal(command, NO_COLOR="")
    assert "\x1b[32myes" in coloured
    assert "\x1b[33mcannot be known" in coloured
    assert "\x1b[1maction=REJECT" in coloured
    plain = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d+m", "", coloured).replace("\r\n", "\n") == plain
    assert on_a_terminal(command, NO_COLOR="1").replace("\r\n", "\n") == plain


@pytest.mark.parametrize(
    "line",
    [
        "Nov 28 04:55:01 mx postfix/smtpd[12]: connect from unknown[203.0.113.5]",
        "Nov 28 04:55:01 mx postfix/smtpd[12]: disconnect from unknown[203.0.113.5] ehlo=1 quit=1 commands=2",
        'time=2026-11-28T04:56:38.562Z level=warning event="invalid request" worker=1 pid=91 reason="no line"',
        '{"time": "2026-11-28T04:56:38.562Z", "level": "info", "event": "scaled", "workers": 3}',
    ],
)
def test_a_pasted_line_without_a_request_is_no_file_and_no_attribute(explain, line):
    """Since lines can be pasted it was reported as a file that is not there, or as an unknown attribute "time"."""
    expected = "this line has no request: expected a decision of forkpolicy's log, or a reject line of Postfix"
    assert explain(line) == (2, "", f'"{line}": {expected}\n')


def test_a_file_with_a_blank_in_its_name(explain):
    """It is a file where there is one."""
    path = explain.folder / "two words"
    path.write_bytes(REQUEST % b"a@example.com")
    assert explain(str(path))[0] == 0


REMEMBERS = """\
acl busy rate {sasl_username} 2/1h 5/1d
acl fast rate {sasl_username} 9/1h count=bytes
acl us sender @example.com
action slow 450 4.7.1 wait {match.busy} s
action put remember seen {sasl_username} 1h
access us put
access busy slow
access fast slow
"""
SIGNED_IN = ("sasl_username=anna@example.com", "sasl_method=PLAIN", "sender=a@example.com", "instance=new")


@pytest.fixture
def remembering(explain, monkeypatch):
    """`explain` of a policy whose store has seen two messages of the hour."""
    (explain.folder / "policy.conf").write_text(REMEMBERS)
    now = 1_700_000_000.0
    store = MemoryStore(lambda: now)
    store.ask(Rate("busy", ("anna@example.com",), (Limit(2, 3600), Limit(5, 86400)), "messages", 2, "old"))
    monkeypatch.setattr(Policy, "peeking", property(lambda _: peeking(store)))
    explain.store = store
    return explain


def test_what_the_store_would_answer_is_shown_and_not_counted(remembering):
    """In words: the key, how much of each window is used, and when one more would pass. Actions are not done."""
    before = remembering.store.walk(b"", b"", 100)
    status, text, _ = remembering(*SIGNED_IN)
    said = rows(text)
    assert status == 0
    assert re.fullmatch(r"action=450 4.7.1 wait \d+ s", said[0])
    wait_s = said[0].split()[-2]
    assert f"{remembering.folder}/policy.conf:6: access us put (fires, not done)" in said
    used = f"2 of 2 in 1h, one more in {wait_s} s; 2 of 5 in 1d (not counted)"
    assert f"busy would hold sasl_username=anna@example.com: {used}" in said
    assert remembering.store.walk(b"", b"", 100) == before


def test_what_cannot_be_known_yet_says_when_it_can(remembering):
    """A type that counts has states of its own."""
    _, text, _ = remembering(*SIGNED_IN, "--all")
    assert "fast cannot be known rate is not known at RCPT, but at END-OF-MESSAGE" in rows(text)
    _, said, _ = remembering(*SIGNED_IN, "--all", "--json")
    (fast,) = json.loads(said)["lines"][2]["acls"]
    assert (fast["reason"], fast["known_at"]) == ("protocol_state", ["END-OF-MESSAGE"])


def test_the_answer_of_the_store_is_there_for_tools(remembering):
    """Its fields, whether the ACL holds or not."""
    _, said, _ = remembering(*SIGNED_IN, "--json")
    (busy,) = json.loads(said)["lines"][1]["acls"]
    assert (busy["met"], busy["answer"]) == ("would hold", "holds")
    assert busy["store"]["counted"] is False
    assert busy["store"]["answer"]["used"] == [2, 2]
    assert busy["store"]["shown"].startswith("sasl_username=anna@example.com: 2 of 2 in 1h")


def test_a_store_that_cannot_be_read_is_no_error(remembering, monkeypatch):
    """It is shown at the ACL, which is not asked; the rest is explained. The first line says that the reply depends."""

    def fail(_question):
        raise StateError("there is no live map: the server does not run")

    monkeypatch.setattr(MemoryStore, "peek", lambda _self, question: fail(question))
    status, text, _ = remembering(*SIGNED_IN)
    assert status == 0
    assert rows(text)[0].startswith("the reply depends on what cannot be read (acl busy);")
    assert rows(text)[1] == "action=DUNNO"
    assert "busy not asked the store cannot be read: there is no live map: the server does not run" in rows(text)
    assert json.loads(remembering(*SIGNED_IN, "--json")[1])["cannot_be_read"] == ["busy"]
    # Where a rule above it decides, the reply does not depend on it, although --all shows it.
    policy = remembering.folder / "policy.conf"
    policy.write_text(policy.read_text().replace("access us put", "action no REJECT\naccess us no"))
    _, text, _ = remembering(*SIGNED_IN, "--all")
    assert rows(text)[0] == "action=REJECT"
    assert "busy not asked the store cannot be read" in "\n".join(rows(text))


def test_the_map_of_the_server_is_read(explain, tmp_path):
    """The live map that workers share, opened by the command itself and left as it was; without one, why not."""
    live = tmp_path / "live"
    (tmp_path / "policy.conf").write_text(REMEMBERS)
    settings = tmp_path / "forkpolicy.toml"
    settings.write_text(f'{settings.read_text()}[state]\nlive = "{live}"\nkept = "{tmp_path}/kept"\n')
    status, text, _ = explain(*SIGNED_IN)
    assert status == 0
    busy = f"busy not asked the store cannot be read: {live}: there is no map: "
    assert [row for row in rows(text) if row.startswith(busy)]
    map_file.make(str(live), 1 << 20)
    live_map = LiveMap.open(str(live))
    live_map.ask(Rate("busy", ("anna@example.com",), (Limit(2, 3600), Limit(5, 86400)), "messages", 2, "old"))
    before = live_map.walk(b"", b"", 100)
    live_map.close()
    _, text, _ = explain(*SIGNED_IN)
    assert "busy would hold sasl_username=anna@example.com: 2 of 2 in 1h, one more in " in "\n".join(rows(text))
    live_map = LiveMap.open(str(live))
    assert live_map.walk(b"", b"", 100) == before
    live_map.close()
