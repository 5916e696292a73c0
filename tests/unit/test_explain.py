"""`explain`: line by line what each ACL said and why, from real tables, for eyes and for tools."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from forkpolicy.cli import main
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
    """The action, the access line, per ACL its answer, the attribute, and the entry with its source and line."""
    status, text, _ = explain(*FORGED)
    said = rows(text)
    folder = explain.folder
    assert status == 0
    assert said[0] == "action=REJECT 5.7.1 Authentication required to send as Example.COM"
    at = said.index(f"{folder}/policy.conf:{LINES['forged']}: access from_us to_us !signed_in prove_it <- decided")
    seen = "sender=a@Example.COM. (rewritten: a@Example.COM)"
    assert said[at + 1] == f"from_us holds {seen}: example.com in table doms ({folder}/doms:2)"
    assert said[at + 2] == f"to_us holds recipient=b@example.com: @example.com ({folder}/policy.conf:6)"
    assert said[at + 3].startswith("!signed_in does not hold sasl_username=")


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
            "from_us cannot be known sender at EHLO: it can be at MAIL, RCPT, DATA, ",
        ),
        (
            ("protocol_state=DATA", "sender=a@example.com", "recipient="),
            "to_us cannot be known recipient at DATA: it can be at RCPT, at DATA, END-OF-MESSAGE, VRFY if Postfix has",
        ),
        (
            ("protocol_state=RCPT", "size=0"),
            "big cannot be known size at RCPT: it can be at END-OF-MESSAGE, at MAIL, RCPT, DATA, VRFY if Postfix has",
        ),
        (("protocol_state=RCPT",), "big cannot be known size at RCPT: "),
        (("protocol_state=RCPT",), "newer cannot be known brand_new: the request has no such attribute"),
        (("protocol_state=",), "named cannot be known helo_name at no state: "),
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
    assert said[1].startswith("answered with on_error: acl listed: TableError: ")
    assert any(row.endswith("access listed to_us busy <- decided") for row in said)
    assert any(row.startswith("listed failed TableError") for row in said)


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
    for hour, office in ((9, "holds"), (20, "does not hold")):
        time = f"2026-11-25T{hour:02}:30:00.000Z"
        line = json.dumps({"time": time, "event": "decision", "request": attributes})
        _, text, _ = explain(typed=line.encode())
        (row,) = [row for row in rows(text) if row.startswith("office")]
        assert row.startswith(f"office {office}")
        assert f"Wednesday {hour:02}:30 UTC" in row


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
    """A name that is nearly one is told; a word that is none is wrong usage."""
    assert 'did you mean "client_address"?' in explain("client_adress=192.0.2.1")[2]
    assert explain("brand_new=yes")[2] == ""
    status, _, said = explain("client_address=192.0.2.1", "sender")
    assert status == 2
    assert '"sender": expected attributes' in said


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
    assert "(40 lines more whose first ACL kept them from firing)" in text
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
    """Holds is green, what cannot be known yellow, the decision bold; NO_COLOR and a pipe get plain text."""
    command = [sys.executable, "-m", "forkpolicy", "explain", "-c", str(explain.folder / "forkpolicy.toml"), *FORGED]
    coloured = on_a_terminal(command, NO_COLOR="")
    assert "\x1b[32mholds" in coloured
    assert "\x1b[33mcannot be known" in coloured
    assert "\x1b[1maction=REJECT" in coloured
    plain = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d+m", "", coloured).replace("\r\n", "\n") == plain
    assert on_a_terminal(command, NO_COLOR="1").replace("\r\n", "\n") == plain
