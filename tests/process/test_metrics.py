"""Prometheus asks a real server: the metrics process, its numbers, its end and its revival."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
from pathlib import Path

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.measure.processes import descendants
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server

POLICY = """\
acl inside client_address 192.0.2.0/24
acl from_us sender example.com
action no REJECT 5.7.1 no
access inside
access !inside from_us no
"""
SAMPLE = re.compile(r'([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+\})? (-?[0-9.e+-]+|\+Inf)')


@pytest.fixture
def server():
    with traversable_directory() as directory:
        server = Server(directory / "server", POLICY, workers=2, decisions="none")
        server.settings.write_text(server.settings.read_text() + '[metrics]\nlisten = "unix:metrics"\n')
        server.start()
        yield server
        server.stop()


def request(client="203.0.113.5", sender="a@example.com"):
    return (
        f"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address={client}\n"
        f"sender={sender}\nrecipient=b@example.org\n\n"
    ).encode()


def fetch(server, head="GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(server.directory / "metrics"))
        client.sendall(head.encode())
        answer = b""
        while part := client.recv(65536):
            answer += part
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body


def samples(body):
    """Every sample; fails on a line that is none."""
    found = {}
    for line in body.splitlines():
        if not line.startswith("# "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            found[match[1] + (match[2] or "")] = float(match[3])
    return found


def total(found, name, **labels):
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(
        value for key, value in found.items() if re.match(rf"{name}(\{{|$)", key) and all(w in key for w in wanted)
    )


def settled(server, name, value, **labels):
    """Numbers reach the scoreboard with the next beat: ask until they are there."""
    for _ in range(200):
        found = samples(fetch(server)[1])
        if total(found, name, **labels) == value:
            return found
        select.select([], [], [], 0.02)
    raise AssertionError(f"{name} never became {value}: {total(found, name, **labels)}")


def metrics_pid(server):
    fetch(server)  # its title stands once it answers
    return next(pid for pid in descendants(server.process.pid) if b"metrics" in title(pid))


def title(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_numbers_are_what_was_asked(server):
    """Requests, replies by action, hits by line and the histogram agree with what a client asked."""
    with PolicyClient(server.socket_path) as client:
        for _ in range(30):
            client.ask(request())
        for _ in range(12):
            client.ask(request(client="192.0.2.1"))
        for _ in range(5):
            client.ask(request(sender="x@example.net"))
        found = settled(server, "forkpolicy_requests_total", 47)
        assert total(found, "forkpolicy_connections") == 1
    assert total(found, "forkpolicy_replies_total", action="REJECT") == 30
    assert total(found, "forkpolicy_line_hits_total", line=f"{server.directory}/policy.conf:5") == 30
    assert total(found, "forkpolicy_line_hits_total", line=f"{server.directory}/policy.conf:4") == 12
    assert total(found, "forkpolicy_request_duration_seconds_count") == 47
    assert total(found, "forkpolicy_request_duration_seconds_bucket", le="+Inf") == 47
    assert total(found, "forkpolicy_worker_ready") == 2


def test_a_shadow_shows_in_the_metrics_and_in_the_status(server):
    """What it would have answered otherwise, over all workers and by the lines responsible; none without a shadow."""
    assert server.status()["shadow"] is None
    (server.directory / "candidate.conf").write_text(POLICY.replace("REJECT", "450"))
    server.settings.write_text(f'shadow = "candidate.conf"\n{server.settings.read_text()}')
    assert server.reload().returncode == 0
    clients = [PolicyClient(server.socket_path) for _ in range(6)]
    for client in clients:
        client.ask(request())
        client.ask(request(client="192.0.2.1"))
        client.close()
    found = settled(server, "forkpolicy_shadow_compared_total", 12)
    assert total(found, "forkpolicy_shadow_differs_total") == 6
    assert total(found, "forkpolicy_shadow_failed_total") == 0
    where = {"line": f"{server.directory}/policy.conf:5", "shadow": f"{server.directory}/candidate.conf:5"}
    assert total(found, "forkpolicy_shadow_pair_differs_total", **where) == 6
    expected = {
        "compared": 12,
        "differs": 6,
        "failed": 0,
        "not_compared": 0,
        "pairs": {f"{where['line']} -> {where['shadow']}": 6},
    }
    assert server.status()["shadow"] == expected


def test_only_metrics_are_served(server):
    """Other paths and methods get an error status; HEAD has no body."""
    assert "404" in fetch(server, "GET /etc/passwd HTTP/1.1\r\n\r\n")[0]
    assert "405" in fetch(server, "POST /metrics HTTP/1.1\r\n\r\n")[0]
    head, body = fetch(server, "HEAD /metrics HTTP/1.1\r\n\r\n")
    assert "200 OK" in head
    assert body == ""


def test_a_mute_client_stalls_nobody_else(server):
    """Forty clients that connect and say nothing, or read nothing: the next one is answered while they are there."""
    mutes = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for mute in mutes:
        mute.connect(str(server.directory / "metrics"))
    mutes[-1].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    with PolicyClient(server.socket_path) as client:
        assert client.ask(request()).startswith("REJECT")
    assert server.status()["workers"]
    assert "200 OK" in fetch(server)[0]
    for mute in mutes[:-1]:
        mute.settimeout(10)
        assert mute.recv(1) == b""  # hung up on, at last
        mute.close()
    mutes[-1].close()


def test_a_silent_client_holds_up_no_other(server):
    """Answers come while one is connected and silent: not after its two seconds."""
    fetch(server)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.connect(str(server.directory / "metrics"))
        mute.setblocking(False)
        for _ in range(3):
            assert "200 OK" in fetch(server)[0]
            # Still there: nobody had to wait for its end.
            with pytest.raises(BlockingIOError):
                mute.recv(1)


def test_the_process_is_replaced(server):
    """A killed metrics process comes back; the workers notice nothing."""
    before, workers = metrics_pid(server), server.worker_pids()
    os.kill(before, signal.SIGKILL)
    for _ in range(1000):
        if any(b"metrics" in title(pid) for pid in descendants(server.process.pid) if pid != before):
            break
        select.select([], [], [], 0.02)
    assert "200 OK" in fetch(server)[0]
    assert server.worker_pids() == workers


def test_it_ends_with_the_master(server):
    """Nothing is left behind by a stop, nor by a killed master."""
    process = os.pidfd_open(metrics_pid(server))
    server.kill()
    assert select.select([process], [], [], 10)[0]
    os.close(process)


def test_everything_looks_local_shows(server):
    """The share of requests that a line's first ACL exempts is sampled: all from inside, all exempted."""
    with PolicyClient(server.socket_path) as client:

        def sampled():
            client.ask(request(client="192.0.2.1"))
            found = samples(fetch(server)[1])
            return found if total(found, "forkpolicy_sampled_requests_total") >= 2 else None

        found = next(found for found in iter(sampled, 0) if found)
    count = total(found, "forkpolicy_sampled_requests_total")
    assert total(found, "forkpolicy_exempted_requests_total", acl="inside") == count
    line = server.status()["lines"][0]
    assert line["exempted_share"] == 1.0
    assert "100.0%  of requests exempted from" in server.command("status").stdout
