"""Past requests, decided again: counts that are right, changes that are exactly those, files that are reported."""

from __future__ import annotations

import gzip
import json
import os
import random
import shlex
import subprocess
import sys
import threading
import tracemalloc

import pytest

from forkpolicy.commands import main
from forkpolicy.commands.shared.request_log import CUT, NO_REQUEST, NOT_A_REQUEST, RequestLog
from forkpolicy.compile.command import main as compile_tables
from forkpolicy.history.log_lines import TOO_LONG_FOR_JOURNALCTL, UNREADABLE
from forkpolicy.loading import load_everything
from forkpolicy.log import LogPipe
from forkpolicy.log_lines import MAX_LINE_BYTES
from forkpolicy.protocol.request import Request
from forkpolicy.state.memory import MemoryStore
from forkpolicy.worker.engine import Engine

POLICY = """\
acl ours client_address 192.0.2.0/24
acl from_us sender @example.com @example.net
acl to_us recipient @example.com
acl signed_in sasl_method (PLAIN|LOGIN)
acl odd helo_name odd.example
action pass DUNNO
action prove_it REJECT 5.7.1 Authentication required to send as {sender_domain}
action note log said {helo_name}
access odd note
access ours pass
access from_us to_us !signed_in prove_it
"""
CANDIDATE = POLICY.replace(" @example.net", "").replace("192.0.2.0/24", "192.0.2.0/25")


def request(**more):
    attributes = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "client_address": "203.0.113.5",
        "helo_name": "mail.example.org",
        "sender": "a@example.com",
        "recipient": "b@example.com",
        "sasl_method": "",
        **more,
    }
    text = "".join(f"{name}={value}\n" for name, value in attributes.items())
    return f"{text}\n".encode("utf-8", "surrogateescape")


CLEAN = request(sender="x@elsewhere.example")
NOW_PASSES = request(sender="a@example.net")
NOW_REJECTED = request(client_address="192.0.2.200")
NOTED = request(helo_name="odd.example", sender="x@elsewhere.example")


@pytest.fixture
def settings(tmp_path):
    """Settings of the policy, and of the candidate next to it."""
    (tmp_path / "policy.conf").write_text(POLICY)
    (tmp_path / "candidate.conf").write_text(CANDIDATE)
    (tmp_path / "new.toml").write_text('policy = "candidate.conf"\n')
    path = tmp_path / "old.toml"
    path.write_text('[log]\ndecisions = "all"\nformat = "json"\n')
    return path


@pytest.fixture
def replay(settings, capsys):
    """Run the command: exit status, what it printed (as an object with --json), what it said on standard error."""

    def run(content, *options, against=False):
        file = settings.parent / "recorded"
        file.write_bytes(content)
        more = ["--against", str(settings.parent / "new.toml")] if against else []
        status = main(["replay", "-c", str(settings), *more, *options, str(file)])
        said = capsys.readouterr()
        return status, json.loads(said.out) if "--json" in options and said.out else said.out, said.err

    return run


def logged(settings, *requests):
    """The decision log that a worker writes for these requests."""
    read_end, write_end = os.pipe()
    lines = []

    def read():
        with os.fdopen(read_end, "rb") as stream:
            lines.extend(stream)

    reader = threading.Thread(target=read)
    reader.start()
    engine = Engine(load_everything(settings), 1, LogPipe(write_end, "json"))
    engine.policy.remember_in(MemoryStore())
    for raw in requests:
        values = engine.values_of(Request.parse(raw))
        engine.serving.finish(engine.decide(values), values, raw, 7)
    os.close(write_end)
    reader.join()
    return b"".join(lines)


def hits(report):
    return {line["line"]: line["hits"] for line in report["lines"] if line["hits"] and line["line"]}


@pytest.mark.parametrize("form", ["raw", "log"])
def test_counts_by_action_and_by_line(replay, settings, form):
    """Every request once, whichever form it was recorded in; `log` lines count, too."""
    requests = [CLEAN, CLEAN, NOTED, request(), request(client_address="192.0.2.1")]
    content = b"".join(requests) if form == "raw" else logged(settings, *requests)
    status, report, _ = replay(content, "--json")
    assert status == 0
    assert report["requests"] == 5
    assert report["actions"] == {"DUNNO": 4, "REJECT": 1, "log": 1}
    assert hits(report) == {9: 1, 10: 1, 11: 1}
    assert report["left_out"] == {}
    assert "changes" not in report


@pytest.mark.parametrize("form", ["raw", "log"])
def test_against_finds_exactly_the_requests_that_change(replay, settings, form):
    """By the pair of lines, most first; exit status 1; nothing that stays as it was is among them."""
    requests = [CLEAN, NOW_PASSES, NOW_PASSES, request(), NOW_REJECTED, request(sasl_method="PLAIN")]
    content = b"".join(requests) if form == "raw" else logged(settings, *requests)
    status, report, _ = replay(content, "--json", against=True)
    assert (status, report["changed"]) == (1, 3)
    seen = [(each["requests"], each["before"]["line"], each["after"]["line"]) for each in report["changes"]]
    assert seen == [(2, 11, None), (1, 10, 11)]
    assert report["changes"][0]["before"]["action"] == "REJECT 5.7.1 Authentication required to send as example.net"
    assert report["changes"][0]["after"]["action"] == "DUNNO"
    assert report["against"]["actions"]["REJECT"] == 2


def test_random_requests_change_as_each_policy_alone_says(replay, settings):
    """What --against counts is the difference of two runs, request by request."""
    rng = random.Random(3)
    requests = [
        request(
            client_address=rng.choice(["192.0.2.1", "192.0.2.200", "203.0.113.5"]),
            sender=rng.choice(["a@example.com", "a@example.net", ""]),
            recipient=rng.choice(["b@example.com", "b@elsewhere.example"]),
            protocol_state=rng.choice(["RCPT", "MAIL", "DATA"]),
        )
        for _ in range(500)
    ]
    policies = [load_everything(settings.parent / name).policy for name in ("old.toml", "new.toml")]
    differing = 0
    for raw in requests:
        attributes = Request.parse(raw).attributes
        texts = set()
        for policy in policies:
            values = tuple(attributes.get(name, "") for name in policy.wanted)
            texts.add(policy.text(policy.trace(values).outcome, values))
        differing += len(texts) == 2
    _, report, _ = replay(b"".join(requests), "--json", against=True)
    assert differing
    assert report["changed"] == differing == sum(each["requests"] for each in report["changes"])


def test_a_policy_against_itself_changes_nothing(replay, settings):
    """Exit status 0, and it says so."""
    (settings.parent / "candidate.conf").write_text(POLICY + "# a comment\n")
    status, text, _ = replay(request() + CLEAN, against=True)
    assert status == 0
    assert "new.toml changes no verdict" in text


def test_a_line_that_moves_is_no_change(replay, settings):
    """Verdicts are what Postfix is sent: another rule with the same reply changes none."""
    (settings.parent / "candidate.conf").write_text("\n\n" + POLICY)
    assert replay(request() + CLEAN, against=True)[0] == 0


@pytest.mark.parametrize(
    "sender", ["a@example.net", 'it\'s "odd" $x@example.net', "tab\tand\x1b[31m\udce4\\@example.net"], ids=ascii
)
def test_the_example_can_be_pasted(replay, settings, sender):
    """The printed command asks `explain` about the very request: same bytes, same verdict, nothing a terminal obeys."""
    _, text, _ = replay(request(sender=sender), against=True)
    command = next(line.strip() for line in text.splitlines() if "forkpolicy explain" in line)
    assert command.isprintable()
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} -m {command} --json"], capture_output=True, check=True
    )
    explained = json.loads(done.stdout)
    assert explained["action"] == "DUNNO"
    shown = next(acl for line in explained["lines"] for acl in line["acls"] if acl["name"] == "from_us")
    expected = "".join(c if c.isprintable() else f"\\x{ord(c) & 0xFF:02x}" for c in sender)
    assert shown["attributes"] == {"sender": expected}


def test_an_example_keeps_the_state(replay, settings):
    """`explain` takes RCPT for granted: a request at another state, or none, says so."""
    (settings.parent / "policy.conf").write_text("acl h helo_name mail.example.org\naction r REJECT\naccess h r\n")
    for state in ("", "EHLO"):
        _, report, _ = replay(request(protocol_state=state, recipient=""), "--json", against=True)
        assert report["changes"][0]["example"]["protocol_state"] == state
        assert f"protocol_state={state} " in report["changes"][0]["explain"]


def test_bytes_that_are_no_utf8_survive_the_log(replay, settings):
    r"""The log writes them as \xNN; the policy is asked about the bytes."""
    (settings.parent / "policy.conf").write_text("acl odd helo_name {sender}\naction r REJECT\naccess odd r\n")
    raw = request(helo_name="m\udcfcll", sender="m\udcfcll")
    assert b"\\xfc" in logged(settings, raw)
    (settings.parent / "candidate.conf").write_text("acl odd helo_name /xfc/\naction r REJECT\naccess odd r\n")
    for content in (raw, logged(settings, raw)):
        _, report, _ = replay(content, "--json", against=True)
        assert report["actions"] == {"REJECT": 1}
        assert report["against"]["actions"] == {"DUNNO": 1}


def test_a_line_that_the_log_has_cut_is_left_out(replay, settings):
    """What a pipe does not take at once is cut: such a request is counted apart and not guessed."""
    long = request(ccert_subject="x" * MAX_LINE_BYTES)
    longer = request(**{f"attribute{number}": "y" * 100 for number in range(60)})
    status, report, _ = replay(logged(settings, long, CLEAN, longer), "--json")
    assert status == 0
    assert (report["requests"], report["left_out"]) == (1, {CUT: 2})
    # In full it is a request like any other, whatever its values end in.
    dots = request(helo_name="x" * 60 + "...")
    assert replay(logged(settings, dots), "--json")[1]["requests"] == 1


def test_a_log_may_have_other_lines(replay, settings):
    """Events, a torn line, what syslog puts in front, decisions without their request: only the last are counted."""
    log = logged(settings, CLEAN)
    content = b"".join(
        [
            b'Nov 25 09:00:00 mx forkpolicy[7]: {"time":"2026-11-25T09:00:00.000Z","level":"info","event":"started"}\n',
            b"Nov 25 09:00:00 mx forkpolicy[7]: " + log,
            b"\n",
            log[:100] + b"\n",
            b'{"event":"decision","action":"DUNNO"}\n',
            b'{"event":"decision","request":{"sender":"x"}}\n',
            b'{"event":"decision","request":{"request":"smtpd_access_policy","sender":7}}\n',
            b"[1, 2]\n",
            log.rstrip(b"\n"),
        ]
    )
    _, report, _ = replay(content, "--json")
    assert report["requests"] == 2
    assert report["left_out"] == {UNREADABLE: 2, NO_REQUEST: 1, NOT_A_REQUEST: 2}


def in_a_journal(message, **more):
    """A line of `journalctl -o json`, as systemd 252 writes it; a MESSAGE that is not printable is a list of bytes."""
    text = message.decode() if isinstance(message, bytes) and message.isascii() else list(message)
    fields = {"_HOSTNAME": "mx", "__REALTIME_TIMESTAMP": "1795837379198612", "MESSAGE": text, "PRIORITY": "6"}
    return json.dumps({**fields, "SYSLOG_IDENTIFIER": "forkpolicy", **more}, separators=(",", ":")).encode() + b"\n"


def in_a_container(message):
    """A line of Docker's json-file driver."""
    entry = {"log": message.decode() + "\n", "stream": "stderr", "time": "2026-11-25T09:00:00.123456789Z"}
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("wrapped", [in_a_journal, in_a_container, lambda line: in_a_journal(list(line))])
def test_a_log_inside_another_log_is_read(replay, settings, wrapped):
    """`journalctl -o json`, its list of bytes, and Docker's json-file: whatever else stands there is passed over."""
    log = logged(settings, CLEAN, request(), NOTED).splitlines()
    other = [b"Started forkpolicy.service - Policy server for Postfix.", b'{"level":"info","event":"started"}']
    content = b"".join(wrapped(line) for line in (*other, *log))
    status, report, _ = replay(content, "--json")
    assert status == 0
    assert report["actions"] == {"DUNNO": 2, "REJECT": 1, "log": 1}
    assert report["left_out"] == {}


def test_what_a_journal_leaves_out_is_told(replay, settings):
    """`journalctl -o json` writes null for a message of more than 4096 bytes unless it is asked for --all."""
    content = in_a_journal(b"", MESSAGE=None) + in_a_journal(logged(settings, CLEAN).rstrip())
    _, report, _ = replay(content, "--json")
    assert (report["requests"], report["left_out"]) == (1, {TOO_LONG_FOR_JOURNALCTL: 1})
    assert "journalctl -o json --all has them" in replay(in_a_journal(b"", MESSAGE=None))[2]


def test_decisions_in_logfmt_inside_a_journal_lack_their_request(replay):
    """Said as such, not as something that cannot be read."""
    line = b"time=2026-11-25T09:00:00.000Z level=info event=decision action=DUNNO client=192.0.2.1"
    _, _, said = replay(in_a_journal(line))
    assert "is a log in logfmt, which leaves requests out" in said


def test_days_and_times_are_those_of_the_log(replay, settings):
    """A rule for the night is judged by when a request came, not by when it is replayed."""
    (settings.parent / "policy.conf").write_text(
        "acl night time 22:00-06:00 tz=UTC\naction later DEFER night\naccess night later\n"
    )
    log = json.loads(logged(settings, CLEAN))
    lines = [json.dumps(log | {"time": f"2026-11-25T{hour:02}:30:00.000Z"}) for hour in range(24)]
    _, report, _ = replay("\n".join(lines).encode(), "--json")
    assert report["actions"] == {"DUNNO": 16, "DEFER": 8}
    assert "the current ones" in replay(CLEAN)[1]


def test_dates_are_those_of_the_log(replay, settings):
    """A rule for the holidays is judged by the day of the request, which ends at midnight in its zone."""
    (settings.parent / "policy.conf").write_text(
        "acl feast date 12-24..01-06 tz=Europe/Madrid\naction later DEFER\naccess feast later\n"
    )
    log = json.loads(logged(settings, CLEAN))
    days = ("2026-12-23T22:59", "2026-12-23T23:00", "2027-01-01T00:00", "2027-01-06T22:59", "2027-01-06T23:00")
    lines = [json.dumps(log | {"time": f"{day}:00.000Z"}) for day in days]
    assert replay("\n".join(lines).encode(), "--json")[1]["actions"] == {"DUNNO": 2, "DEFER": 3}


def test_a_table_that_cannot_be_read_is_told(replay, settings):
    """Which table, on standard error; how many requests it cost, in the report."""
    (settings.parent / "policy.conf").write_text(
        "table gone domain list\nacl in_it sender table:gone\naction r REJECT\naccess in_it r\n"
    )
    status, text, said = replay(CLEAN * 3)
    assert status == 0
    assert 'warning: table "gone" cannot be used' in said
    assert "3 requests got on_error: acl in_it" in text


def test_requests_may_be_typed_by_hand(replay):
    """CR LF, empty lines between and after, no empty line at the end: all is read; what is not a request is not."""
    content = b"\n\n" + CLEAN.replace(b"\n", b"\r\n") + b"\n\n" + b"sender=x\n\n" + request().rstrip(b"\n")
    _, report, _ = replay(content, "--json")
    assert (report["requests"], report["left_out"]) == (2, {NOT_A_REQUEST: 1})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        (gzip.compress(CLEAN), "is compressed: give `-` for the file and zcat"),
        (b"From: someone\nTo: somebody\n\nhello\n", "its first line is 'From: someone'"),
        (b"\x7fELF\x02\x01\x01\x00\xff\n", "neither policy requests"),
        (b"sender=a@example.com\n\n", "no policy request; the first entry that is not one: expected a line request="),
        (b"time=2026-11-25T09:00:00.000Z level=info event=decision action=DUNNO\n", "is a log in logfmt"),
        (b'{"time":"2026-11-25T09:00:00.000Z","event":"started"}\n', "has no decision: requests are logged with [log]"),
        (b'{\n\t"MESSAGE" : "x"\n}\n', "is JSON over several lines: expected one object a line (journalctl -o json)"),
        (
            b"mx postfix/smtpd[7]: NOQUEUE: reject: RCPT from x[192.0.2.1]: 554 no\n",
            "is a log of Postfix, which leaves",
        ),
        (b'{"event":"decision","action":"DUNNO"}\n', "only 1 decisions logged without their request"),
    ],
    ids=[
        "nothing",
        "blank",
        "gzip",
        "mail",
        "binary",
        "no-request",
        "logfmt",
        "no-decision",
        "pretty",
        "postfix",
        "acted",
    ],
)
def test_a_wrong_file_is_told(replay, content, told):
    """What it is, and what to do; exit status 2, so that nobody takes it for changes."""
    status, out, said = replay(content)
    assert (status, out) == (2, "")
    assert told in said
    assert "Traceback" not in said


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_told(settings, capsys, what):
    """With the system's reason."""
    path = settings.parent if what == "folder" else settings.parent / "missing"
    assert main(["replay", "-c", str(settings), str(path)]) == 2
    assert f"{path} cannot be read: " in capsys.readouterr().err


def test_a_candidate_that_does_not_load_is_the_operators_mistake(replay, settings):
    """All diagnostics and the exit status of a wrong configuration, before the file is read."""
    (settings.parent / "candidate.conf").write_text("acess x y\n")
    status, _, said = replay(CLEAN, against=True)
    assert status == 78
    assert "candidate.conf:1:1" in said


def test_another_delimiter_changes_what_it_changes_and_nothing_else(replay, settings, capsys):
    """Two policies look at one table, each with its own recipient_delimiter."""
    policy = "table staff address list\nacl known recipient table:staff\naction r REJECT\naccess known r\n"
    (settings.parent / "list").write_text("anna@example.com\n")
    for name in ("policy.conf", "candidate.conf"):
        (settings.parent / name).write_text(policy)
    settings.write_text('tables = "tables"\n')
    new = settings.parent / "new.toml"
    new.write_text('policy = "candidate.conf"\ntables = "tables"\n[mail]\nrecipient_delimiter = "+"\n')
    assert compile_tables(["-c", str(settings)]) == 0
    capsys.readouterr()
    plain, extended = request(recipient="anna@example.com"), request(recipient="anna+list@example.com")
    status, report, said = replay(plain * 3 + extended + CLEAN, "--json", against=True)
    assert (status, report["changed"], "cannot be used" in said) == (1, 1, False)
    assert [(each["before"]["action"], each["after"]["action"]) for each in report["changes"]] == [("DUNNO", "REJECT")]


def test_standard_input(settings):
    """`-` reads a pipe: an archive needs no unpacking."""
    command = [sys.executable, "-m", "forkpolicy", "replay", "-c", str(settings), "-"]
    done = subprocess.run(command, input=CLEAN * 3, capture_output=True, check=True)
    assert done.stdout.startswith(b"3 requests of standard input")
    assert done.stderr == b""


@pytest.mark.parametrize("form", ["raw", "log"])
def test_memory_does_not_grow_with_the_file(settings, tmp_path, form):
    """Requests are read as they are needed: a tenth of the file's size is never held."""
    content = CLEAN * 5000 if form == "raw" else logged(settings, CLEAN) * 5000
    path = tmp_path / "long"
    path.write_bytes(content)
    tracemalloc.start()
    assert sum(1 for _ in RequestLog(str(path))) == 5000
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < len(content) / 10


def test_the_text_lists_each_pair_of_lines_once(replay):
    """The text for eyes: shares, both lines, the command; in the order of how often."""
    _, text, _ = replay(NOW_PASSES * 3 + NOW_REJECTED + CLEAN * 4, against=True)
    rows = [line.strip() for line in text.splitlines()]
    head = next(number for number, row in enumerate(rows) if "changes the verdict of 4 (50.00%)" in row)
    assert rows[head + 2].startswith("3  REJECT 5.7.1")
    assert rows[head + 3].endswith("policy.conf:11: access from_us to_us !signed_in prove_it")
    assert rows[head + 4] == "-> (default: no rule fired)"
    assert rows[head + 7].startswith("1  DUNNO -> REJECT")


def test_limits_are_tried_on_the_log_s_clock(replay, settings):
    """Each policy has an empty store of its own, and time passes as it did: a window is over when the log says so."""
    limit = "acl busy rate {{client_address}} {}/1h\naction slow 450 4.7.1 slow\naccess busy slow\n"
    (settings.parent / "policy.conf").write_text(limit.format(2))
    (settings.parent / "candidate.conf").write_text(limit.format(1))
    lines = []
    for number, minute in enumerate((0, 1, 2, 3, 120, 121, 122)):
        (line,) = logged(settings, request(instance=f"i{number}")).splitlines()
        fields = json.loads(line)
        fields["time"] = f"2026-10-01T{minute // 60:02}:{minute % 60:02}:00+00:00"
        lines.append(json.dumps(fields))
    status, report, _ = replay("\n".join(lines).encode(), "--json", against=True)
    assert status == 1
    assert report["actions"] == {"DUNNO": 4, "4xx": 3}
    assert report["against"]["actions"] == {"DUNNO": 2, "4xx": 5}
    assert (report["changed"], report["failures"]) == (2, {})


def test_rules_that_remember_are_counted_in_a_replay(replay, settings):
    """As `log` rules are, and what they put on a list is there for the next request."""
    (settings.parent / "policy.conf").write_text(
        "acl odd helo_name odd.example\nacl bad listed traps {client_address}\naction trap remember traps "
        "{client_address} 1d\naction no REJECT\naccess bad no\naccess odd trap\n"
    )
    _, report, _ = replay(NOTED + CLEAN, "--json")
    assert report["actions"] == {"REJECT": 1, "DUNNO": 1, "remember": 1}
    assert hits(report) == {5: 1, 6: 1}


REMEMBERING = """\
acl often rate {client_address} 1/1h
acl bad rbl bl.example.org
action no REJECT {match.often}
action listed 450 listed
access often no
access bad listed
"""


def test_recorded_answers_are_those_of_then(replay, settings):
    """With --recorded nothing is counted or asked again: not even for policies that lack an ACL or have another."""
    (settings.parent / "policy.conf").write_text(REMEMBERING)
    (settings.parent / "candidate.conf").write_text(
        REMEMBERING.replace("acl bad rbl", "acl other rbl").replace("access bad", "access other")
    )
    line = json.loads(logged(settings, request()))
    answers = [
        {"often": {"holds": True, "value": "77"}},
        {"often": {"holds": False}, "bad": {"holds": True}},
        {"often": {"holds": None, "reason": "no answer"}, "bad": {"holds": False}},
        {"often": {"failed": "it is away"}},
    ]
    content = b"".join(json.dumps({**line, "answers": each}).encode() + b"\n" for each in answers)
    report = replay(content, "--json", "--recorded", against=True)[1]
    assert report["actions"] == {"REJECT": 1, "4xx": 1, "DUNNO": 1, "DEFER_IF_PERMIT": 1}
    assert [(each["before"]["action"], each["after"]["action"]) for each in report["changes"]] == [
        ("450 listed", "DUNNO")
    ]
    assert report["against"]["actions"]["REJECT"] == 1
    assert replay(content, "--json")[1]["actions"] == {"DUNNO": 1, "REJECT": 3}
