"""Every setting that the manual marks "reload: yes" is applied by a reload: a running server shows it."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import socket
import time

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.names.behaviours import listed, never, nxdomain
from loadtest.servers.names.server import NameServer
from loadtest.servers.pausing import pause
from loadtest.servers.ports import free_port
from tests.process.conftest import request
from tests.process.waiting import eventually

MANUAL = pathlib.Path(__file__).parents[2] / "docs" / "forkpolicy.toml.5.md"

POLICY = """
table domains domain domains
table staff address staff
acl from_us sender table:domains
acl to_us recipient table:domains
acl to_staff recipient table:staff
acl odd helo_name odd.example
action prove_it REJECT 5.7.1 authenticate first
action known REJECT 5.7.2 one of the staff
action copy BCC {sasl_username}@example.com
access odd copy
access from_us to_us prove_it
access to_staff known
"""
REJECT, KNOWN = "REJECT 5.7.1 authenticate first", "REJECT 5.7.2 one of the staff"
PERCENT = request("a@example.com", "b%example.com@mail.example.org")
EXTENDED = request("x@elsewhere.example", "anna+list@example.org")


def reloadable():
    """Every setting of the manual's tables whose column "reload" says yes, as the file has it."""
    section = ""
    for line in MANUAL.read_text().splitlines():
        if header := re.match(r"## (?:\[(\w+)\]|Top)", line):
            section = header[1] or ""
        elif line.startswith("| `") and (cells := [cell.strip() for cell in line.split("|")])[5:6] == ["yes"]:
            yield f"{section}.{cells[1].strip('`')}".lstrip(".")


class Running:
    """A server whose settings are one dict, {section: {name: value}}."""

    def __init__(self, server):
        self.server = server
        self.port = free_port()
        (server.directory / "staff").write_text("anna@example.org\n")
        self.base = {
            "": {"policy": "policy.conf", "tables": "compiled"},
            "server": {
                "listen": [f"unix:{server.socket_path}", f"inet:127.0.0.1:{self.port}"],
                "workers": 2,
                "control": "unix:control",
                **{name: self.written(name) for name in ("socket_user", "socket_group", "user", "group")},
            },
            "mail": {},
            "dns": {},
            "log": {"target": str(server.log)},
            "history": {"log": "history.json"},
            "state": {"live": "live", "kept": "kept", "max_size": "1M"},
        }

    def written(self, name):
        return re.search(rf'^{name} = "(.*)"$', self.server.settings.read_text(), re.MULTILINE)[1]

    def write(self, **changed):
        """Write the base with these settings changed: {"section.name": value}."""
        sections = {name: dict(values) for name, values in self.base.items()}
        for path, value in changed.items():
            section, _, name = path.rpartition(".")
            sections[section][name] = value
        # Strings, numbers and lists of JSON are those of TOML.
        lines = [
            line
            for section, values in sections.items()
            for line in ([f"[{section}]"] if section else []) + [f"{k} = {json.dumps(v)}" for k, v in values.items()]
        ]
        self.server.settings.write_text("\n".join(lines) + "\n")

    def take_up(self, **changed):
        self.write(**changed)
        done = self.server.obey("reload", 60)
        assert done["ok"], done
        assert done["notes"] == [], done

    def ask(self, *requests):
        with PolicyClient(self.server.socket_path) as client:
            return [client.ask(each) for each in requests]

    def workers(self):
        return self.server.status()["workers"]

    def pids(self):
        return {worker["pid"] for worker in self.workers() if worker["ready"]}


def from_us(sender):
    return request(sender, "b@example.com")


def _policy(it):
    (it.server.directory / "other.conf").write_text(POLICY.replace("5.7.1", "5.7.9"))
    it.take_up(policy="other.conf")
    assert it.ask(from_us("a@example.com")) == [REJECT.replace("5.7.1", "5.7.9")]


def _tables(it):
    (it.server.directory / "by-another-name").symlink_to("compiled")
    it.take_up(tables="by-another-name")
    assert it.ask(from_us("a@example.com")) == [REJECT]
    assert {table["refused"] for worker in it.workers() for table in worker["tables"]} == {""}


def _shadow(it):
    (it.server.directory / "other.conf").write_text(POLICY.replace("5.7.1", "5.7.9"))
    it.take_up(shadow="other.conf")
    assert it.ask(from_us("a@example.com")) == [REJECT]
    eventually(lambda: sum(worker["shadow"]["differs"] for worker in it.workers()) == 1)


def _allow(it):
    it.take_up(**{"server.allow": ["192.0.2.0/24"]})
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", it.port), 30) as client:
        client.sendall(from_us("a@example.com"))
        assert client.recv(1000) == b""


def _workers(it):
    it.take_up(**{"server.workers": 3})
    eventually(lambda: len(it.pids()) == 3)


def _hang_timeout(it):
    it.take_up(**{"server.hang_timeout": 2})
    stuck = min(it.pids())
    pause(stuck)
    eventually(lambda: stuck not in it.pids() and len(it.pids()) == 2, 30)
    assert "limit_s=2" in it.server.said()


def _idle_timeout(it):
    it.take_up(**{"server.idle_timeout": 1})
    with PolicyClient(it.server.socket_path) as client:
        assert client.ask(from_us("a@example.com")) == REJECT
        client.connect().settimeout(30)
        assert client.connect().recv(1) == b""


def _max_connections(it):
    it.take_up(**{"server.max_connections": 16})
    clients = [PolicyClient(it.server.socket_path) for _ in range(20)]
    for client in clients:
        client.connect()
    eventually(lambda: "half of server.max_connections (16)" in it.server.said())
    for client in clients:
        client.close()


def _max_request(it):
    it.take_up(**{"server.max_request": 4096})
    with PolicyClient(it.server.socket_path) as client:
        client.connect().settimeout(30)
        client.connect().sendall(request(stress="x" * 5000)[:-1])
        assert client.connect().recv(1) == b""


def _max_requests(it):
    it.take_up(**{"server.max_requests": 1})
    before = it.pids()

    def replaced():
        with contextlib.suppress(ConnectionError):
            it.ask(*[from_us("a@example.com")] * 8)
        return not before & it.pids()

    eventually(replaced, 60)


def _max_memory(it):
    it.take_up(**{"server.max_memory": 1, "server.max_request": 16_777_216})
    # A limit below what a worker is born with counts from a tenth above that.
    half = request(stress="x" * 15_000_000)[:-10]
    with PolicyClient(it.server.socket_path) as one, PolicyClient(it.server.socket_path) as other:
        for client in (one, other):
            client.connect().settimeout(60)
            client.connect().sendall(half)
        eventually(lambda: "max_memory (" in it.server.said(), 30)


def _on_error(it):
    it.take_up(**{"server.on_error": "451 4.3.5 ask the operator"})
    assert it.ask(request(helo_name="odd.example", sasl_username="")) == ["451 4.3.5 ask the operator"]


def _recipient_delimiter(it):
    it.take_up(**{"mail.recipient_delimiter": "+"})
    assert it.ask(EXTENDED) == [KNOWN]
    assert {table["refused"] for worker in it.workers() for table in worker["tables"]} == {""}


def _rewriting(it):
    it.take_up(**{"mail.rewriting": "none"})
    assert it.ask(from_us("example.com!a")) == ["DUNNO"]


def _myorigin(it):
    it.take_up(**{"mail.myorigin": "example.com"})
    assert it.ask(from_us("a")) == [REJECT]


def _mydomain(it):
    it.take_up(**{"mail.mydomain": "com"})
    assert it.ask(from_us("a@example")) == [REJECT]


def _local_domains(it):
    it.take_up(**{"mail.local_domains": ["mail.example.org"]})
    assert it.ask(PERCENT) == [REJECT]


def _local_addresses(it):
    it.take_up(**{"mail.myorigin": "example.com", "mail.local_addresses": ["192.0.2.25"]})
    assert it.ask(from_us("a@[192.0.2.25]")) == [REJECT]


def _decisions(it):
    it.take_up(**{"log.decisions": "all"})
    assert it.ask(EXTENDED) == ["DUNNO"]
    eventually(lambda: "action=DUNNO" in it.server.log.read_text())


def _history_decisions(it):
    it.take_up(**{"history.decisions": "all"})
    assert it.ask(EXTENDED) == ["DUNNO"]
    eventually(lambda: '"action":"DUNNO"' in (it.server.directory / "history.json").read_text())


def _fail(it):
    limit = "acl busy rate {sender} 9/1h\naction slow 450 4.7.1 slow down\naccess busy slow\n"
    (it.server.directory / "limits.conf").write_text(limit)
    it.take_up(policy="limits.conf")
    # Counters are never forgotten before their time: a small map is full of them, and fails.
    with PolicyClient(it.server.socket_path) as client:
        answers = (client.ask(request(f"{number}@example.com", instance=f"{number}.1")) for number in range(20_000))
        assert next(each for each in answers if each != "DUNNO").startswith("DEFER_IF_PERMIT 4.3.0")
    it.take_up(policy="limits.conf", **{"state.fail": "skip"})
    assert it.ask(request("new@example.com", instance="new.1")) == ["DUNNO"]


LISTS = "acl listed rbl list.example\naction no REJECT listed\naccess listed no\n"


@contextlib.contextmanager
def _list_that(it, behaviour, **changed):
    """A policy that asks a DNS list, whose name server does this."""
    (it.server.directory / "lists.conf").write_text(LISTS)
    with NameServer({"1.0.0.127.list.example": nxdomain()}, zones={"list.example": behaviour}) as names:
        it.take_up(policy="lists.conf", **{"dns.servers": [names.address], **changed})
        yield


def _seconds(it, client):
    began_s = time.monotonic()
    assert it.ask(request(client=client)) == ["DUNNO"]
    return time.monotonic() - began_s


def _budget(it):
    with _list_that(it, never(), **{"dns.timeout": 20, "state.budget": 0.3}):
        assert _seconds(it, "198.51.100.1") < 20


def _dns_servers(it):
    with _list_that(it, listed()):
        assert it.ask(request(client="198.51.100.2")) == ["REJECT listed"]


def _dns_timeout(it):
    with _list_that(it, never(), **{"dns.timeout": 0.2, "state.budget": 60}):
        assert _seconds(it, "198.51.100.3") < 20


SETTINGS = {
    "policy": _policy,
    "tables": _tables,
    "shadow": _shadow,
    "server.allow": _allow,
    "server.workers": _workers,
    "server.hang_timeout": _hang_timeout,
    "server.idle_timeout": _idle_timeout,
    "server.max_connections": _max_connections,
    "server.max_request": _max_request,
    "server.max_requests": _max_requests,
    "server.max_memory": _max_memory,
    "server.on_error": _on_error,
    "mail.recipient_delimiter": _recipient_delimiter,
    "mail.rewriting": _rewriting,
    "mail.myorigin": _myorigin,
    "mail.mydomain": _mydomain,
    "mail.local_domains": _local_domains,
    "mail.local_addresses": _local_addresses,
    "log.decisions": _decisions,
    "history.decisions": _history_decisions,
    "state.fail": _fail,
    "state.budget": _budget,
    "dns.servers": _dns_servers,
    "dns.timeout": _dns_timeout,
}
# In a worker alone, where a server would need other engines, or a minute: tests/unit/test_asking_settings.py.
IN_A_WORKER = {
    "state.max_waiting",
    "state.timeout",
    "state.user",
    "state.password_file",
    "state.sentinel_password_file",
    "state.ca_file",
    "state.cert_file",
    "state.key_file",
    "dns.test_every",
}
# What the same requests are answered by the base: without this none of the above would show a change.
BEFORE = [
    (from_us("a@example.com"), REJECT),
    (EXTENDED, "DUNNO"),
    (from_us("example.com!a"), REJECT),
    (from_us("a"), "DUNNO"),
    (from_us("a@example"), "DUNNO"),
    (PERCENT, "DUNNO"),
    (from_us("a@[192.0.2.25]"), "DUNNO"),
    (request(helo_name="odd.example", sasl_username=""), "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"),
]


def test_each_setting_that_is_marked_so_is_tested():
    """A new one in the manual needs a line here; one without a reload has none."""
    assert sorted(reloadable()) == sorted([*SETTINGS, *IN_A_WORKER])


@pytest.mark.timeout(300)
def test_each_is_taken_up(make_server):
    """One after the other, from the base and back to it, and none needs a restart."""
    server = make_server(POLICY.replace("table staff address staff", "table staff address domains"))
    it = Running(server)
    server.write_policy(POLICY)
    it.write()
    server.compile()
    server.start()
    for change in SETTINGS.values():
        it.take_up()
        logged_bytes = server.log.stat().st_size
        assert it.ask(*(asked for asked, _ in BEFORE)) == [answer for _, answer in BEFORE], change
        assert b"action=DUNNO" not in server.log.read_bytes()[logged_bytes:]
        change(it)
