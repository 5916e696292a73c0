"""Log lines: one event is one line of at most PIPE_BUF bytes, whatever its values; a full pipe drops and counts."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.log import PRIORITY, LogPipe, open_pipe, printed
from forkpolicy.log_lines import MAX_LINE_BYTES, priority_and_text, without_priorities

HOSTILE = st.text(st.characters(), max_size=3000) | st.binary(max_size=500).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)


@pytest.fixture
def pipe():
    read_end, write_end = open_pipe()
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def line_of(style="logfmt", **fields):
    return LogPipe(-1, style).line("info", "test", **fields)[:-1].decode()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a@example.com", "a@example.com"),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "no"', '"say \\"no\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("x=y", '"x=y"'),
        ("new\nline", '"new\\nline"'),
        ("\x1b[2J", '"\\u001b[2J"'),
        ("caf\u00e9", '"caf\u00e9"'),
        ("\u202egpj", '"\\u202egpj"'),
        ("\udce4@example.org", '"\\xe4@example.org"'),
        (3, "3"),
        (0.25, "0.25"),
    ],
)
def test_logfmt_values(value, shown):
    """Plain words stay as they are; everything else is in quotes, and what is not printable is escaped."""
    assert line_of(value=value).endswith(f" value={shown}")


@given(HOSTILE)
def test_no_value_breaks_a_line_or_a_terminal(text):
    """Whatever comes from outside: printable characters only, whole, and not too long."""
    line = LogPipe(-1).line("info", "test", sender=text, helo_name=text, recipient=text)
    assert len(line) <= MAX_LINE_BYTES
    assert line[:-1].decode().isprintable()


@given(HOSTILE)
def test_json_stays_json(text):
    """Also when it is cut, and with bytes that are no UTF-8."""
    line = LogPipe(-1, "json").line("info", "test", sender=text, request={"sender": text, text[:20]: text})
    assert len(line) <= MAX_LINE_BYTES
    found = json.loads(line)
    assert found["event"] == "test"
    assert not any("\ud800" <= character <= "\udfff" for character in str(found))


def test_a_request_of_thousands_of_attributes_is_cut_down_to_its_event():
    """No limit on how many attributes a client sends; one on what a line holds."""
    line = line_of("json", request={f"name{number}": "x" * 50 for number in range(2000)})
    found = json.loads(line)
    assert (found["event"], "cut" in found) == ("test", True)


@pytest.mark.parametrize("style", ["logfmt", "json"])
def test_lines_have_their_priority(style):
    """As in syslog(3). Nearly all lines are of one priority and have none: a file gets them as they are."""
    log = LogPipe(-1, style)
    lines = [log.line(level, "bug", reason="\x014") for level in PRIORITY]
    assert [priority_and_text(line)[0] for line in lines] == list(PRIORITY.values())
    texts = b"".join(priority_and_text(line)[1] for line in lines)
    assert texts.decode().replace("\n", "").isprintable()
    assert without_priorities(b"".join(lines)) == printed(b"".join(lines), for_journal=False) == texts
    line = log.line("info", "x")
    assert without_priorities(line) == line


def test_the_journal_gets_the_priority_of_each_line():
    """As sd-daemon(3) has it."""
    log = LogPipe(-1)
    lines = printed(log.line("critical", "bug") + log.line("info", "x"), for_journal=True).splitlines()
    assert [line[:8] for line in lines] == [b"<2>time=", b"<6>time="]


def test_a_full_pipe_drops_counts_and_tells(pipe):
    """Nothing waits; the count comes with the first line that gets through."""
    read_end, write_end = pipe
    log = LogPipe(write_end)
    with contextlib.suppress(BlockingIOError):
        while os.write(write_end, b"x" * MAX_LINE_BYTES):
            pass
    log.event("info", "lost")
    log.event("info", "lost")
    assert log.dropped == 2
    assert os.read(read_end, 1 << 21)
    log.event("info", "through")
    text = os.read(read_end, 1 << 20).decode()
    assert 'event="log lines dropped" count=2' in text
    assert text.index("count=2") < text.index("event=through")
    assert log.dropped == 0


def test_without_a_logger_lines_are_counted_too(pipe):
    """The logger has died, the master is about to start another: no exception meets a request."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    log = LogPipe(write_end)
    log.event("info", "nobody reads")
    assert log.dropped == 1
    os.close(write_end)


def test_a_full_disk_tears_no_second_line(tmp_path):
    """Of what a file does not take only those lines are counted, and the next line begins on a line of its own."""
    script = """
import resource, signal, sys
from forkpolicy.master.processes.targets import FileTarget, NotWrittenError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
target = FileTarget(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (25, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        target.write(b"".join(b"number %d\\n" % number for number in range(4)))
    except NotWrittenError as error:
        print(error.lines)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
target.write(b"number 9\\n")
"""
    path = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", script, path], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["2", "4"]
    assert path.read_text().splitlines() == ["number 0", "number 1", "number ", "number 9"]
