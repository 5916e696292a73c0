"""What a file and syslog get of the lines of the pipe."""

from __future__ import annotations

import os
import socket

import pytest

from forkpolicy.log import LogPipe
from forkpolicy.master.processes import targets

LINES = LogPipe(-1).line("critical", "bug") + LogPipe(-1).line("info", "started")


@pytest.fixture
def syslog(tmp_path, monkeypatch):
    """A syslog daemon's socket, where the target looks for it."""
    path = tmp_path / "log"
    monkeypatch.setattr(targets, "SYSLOG_SOCKET", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        yield daemon


def test_syslog_gets_a_message_for_each_line(syslog):
    """Of the facility mail, with the line's severity and without a newline."""
    target = targets.open_target("syslog")
    target.write(LINES)
    target._socket.close()
    for severity, event in ((2, b"bug"), (6, b"started")):
        begin, text = syslog.recv(4096).split(b": ", 1)
        assert begin == b"<%d>forkpolicy[%d]" % (16 | severity, os.getppid())
        assert text.startswith(b"time=")
        assert text.endswith(b"event=" + event)


def test_a_line_begins_on_a_line_of_its_own(tmp_path):
    """Whoever has left half a one, and whenever: before it was opened, or after."""
    path = tmp_path / "log"
    path.write_bytes(b"torn")
    target = targets.FileTarget(str(path))
    target.write(b"one\n")
    with path.open("ab") as other:
        other.write(b"torn, too")
    target.write(b"two\n")
    target.write(b"three\n")
    target.use(target.open_again())
    target.write(b"four\n")
    os.close(target.fileno())
    assert path.read_text().splitlines() == ["torn", "one", "torn, too", "two", "three", "four"]


def test_a_file_gets_lines_without_their_priority(tmp_path):
    """Whatever severities they have."""
    target = targets.open_target(str(tmp_path / "log"))
    target.write(LINES)
    target.write(b"")
    target.write(LogPipe(-1).line("info", "ready"))
    os.close(target.fileno())
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert [line.rpartition(b"event=")[2] for line in lines] == [b"bug", b"started", b"ready"]
    assert all(line.startswith(b"time=") for line in lines)
