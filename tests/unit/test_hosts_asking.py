"""`forkpolicy hosts`: whatever a host sends, and however long it takes, the others are shown."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time

import pytest

from forkpolicy.commands.hosts import asking
from forkpolicy.commands.main import main
from tests.unit.test_hosts_file import METRICS

OK = b"HTTP/1.0 200 OK\r\n\r\n"


@contextlib.contextmanager
def answering(*pieces, every_s=0.0):
    """A server that answers everybody with these pieces; its URL."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    with client, contextlib.suppress(OSError):
                        client.recv(1 << 16)
                        for piece in pieces:
                            client.sendall(piece)
                            ended.wait(every_s)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/metrics"
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)
            serving.join()


@pytest.fixture
def shown(tmp_path, capsys):
    """What is printed of these hosts, and of one that is right."""

    def show(*lines, timeout=5):
        with answering(OK, METRICS.encode()) as url:
            text = "\n".join([*lines, f"right metrics {url}"])
            (tmp_path / "hosts").write_text(text)
            assert main(["hosts", "--timeout", str(timeout), str(tmp_path / "hosts")]) == 1
        printed = capsys.readouterr().out
        assert "host     right" in printed
        assert "generation 4" in printed
        return printed

    return show


def here(code):
    """A host that runs this."""
    return f"odd here -- {sys.executable} -c '{code}'"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ('print("[" * 100_000)', "what was printed is not a status"),
        ("import sys; sys.exit(3)", "ended with exit status 3"),
        ('import sys; sys.exit("no \\x1b[2J\\x07 rights")', "no ?[2J? rights"),
        ("import os; [os.write(1, bytes(1 << 20)) for _ in iter(int, 1)]", "it sent more than 1 MiB"),
        ("import os; [os.write(2, bytes(1 << 20)) for _ in iter(int, 1)]", "NOT KNOWN"),
        ('import subprocess, time; subprocess.Popen(["sleep", "300"])', "no answer within 2 s"),
    ],
)
def test_a_command_that_is_odd_is_named(shown, monkeypatch, code, message):
    """Too deep, failed, with orders for the terminal, without an end, with a child that holds the pipe."""
    monkeypatch.setattr(asking, "_MOST_BYTES", 1 << 20)
    began_s = time.monotonic()
    assert message in shown(here(code), timeout=2)
    assert time.monotonic() - began_s < 20


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([b"HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n"], "it answered 302 Found"),
        ([b"HTTP/1.0 500 bad \x1b[31m\r\n\r\n"], "it answered 500 bad ?[31m"),
        ([b"nonsense\r\n"], "NOT KNOWN"),
        ([OK, b"#" * (2 << 20)], "it sent more than 1 MiB"),
        ([OK, b'forkpolicy_info{version="1"} 1\nforkpolicy_generation ', b"9" * 400, b"\n"], "generation 0"),
        ([OK, b'forkpolicy_info{version="1\x1b]0;x\x07"} 1\n'], "release  1?]0;x?"),
    ],
)
def test_metrics_that_are_odd_are_named(shown, monkeypatch, pieces, message):
    """Elsewhere, failed, none, without an end, with numbers and orders that nobody can use."""
    monkeypatch.setattr(asking, "_MOST_BYTES", 1 << 20)
    with answering(*pieces) as url:
        assert message in shown(f"odd metrics {url}")


def test_metrics_that_never_end_take_no_longer_than_wanted(shown):
    """Two bytes at a time, in the head or behind it."""
    for pieces in ([OK, *[b"# " for _ in range(200)]], [b"HTTP/1.0 200 OK\r\nX: ", *[b"y" for _ in range(200)]]):
        with answering(*pieces, every_s=0.1) as url:
            began_s = time.monotonic()
            assert "no answer within 1 s" in shown(f"odd metrics {url}", timeout=1)
            assert time.monotonic() - began_s < 10


def test_very_many_tables_are_compared_in_time(tmp_path, capsys):
    """Of one host."""
    rows = "".join(f'forkpolicy_table_info{{worker="0",table="t{n}",version="{n:x}"}} 1\n' for n in range(100_000))
    with answering(OK, METRICS.encode(), rows.encode()) as url:
        (tmp_path / "hosts").write_text(f"mx1 metrics {url}\n")
        began_s = time.process_time()
        assert main(["hosts", "--json", str(tmp_path / "hosts")]) == 0
    assert len(json.loads(capsys.readouterr().out)["hosts"][0]["tables"]) == 100_001
    assert time.process_time() - began_s < 30


def test_words_of_a_command_stay_whole_through_ssh(tmp_path, monkeypatch, capsys):
    """The shell of the other side divides what ssh sends."""
    (tmp_path / "ssh").write_text('#!/bin/sh\nfor last; do :; done\nprintf "%s\\n" "$last" >&2\nexit 1\n')
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "hosts").write_text('mx1 ssh mx1 -- forkpolicy status --json -c "/etc/a b;c.toml"\n')
    assert main(["hosts", str(tmp_path / "hosts")]) == 1
    assert "forkpolicy status --json -c '/etc/a b;c.toml'" in capsys.readouterr().out
