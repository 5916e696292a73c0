"""SPF in a real server that asks a name server of the test: results, what waits, what is counted, and other servers."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.names.behaviours import fails, has, never, truncated
from loadtest.servers.names.messages import Record
from loadtest.servers.names.server import NameServer
from loadtest.servers.ports import free_port
from tests.process.conftest import request
from tests.process.waiting import eventually

pytest.importorskip("spf", reason="SPF needs forkpolicy[dns]")

CLIENT = "203.0.113.5"
POLICY = """
acl forged  spf fail
acl broken  spf permerror temperror
acl good    spf pass
acl no_dns  sender @slow.example
acl at_data protocol_state DATA
action no   550 5.7.23 SPF does not allow {client_address} to send this mail
action why  WARN {match.broken}
action mark PREPEND Received-SPF: {match.good}
action late REJECT the DNS has answered
access forged no
access at_data good mark
access no_dns !forged late
access broken why
"""
# 3,200 bytes of addresses that do not match; with the other texts of its name 5,600, which only TCP brings.
LONG = b"v=spf1 " + b" ".join(b"ip4:198.51.100.%d" % number for number in range(170)) + b" include:last.example -all"


def text(record):
    return has(Record("TXT", record))


NAMES = {
    "good.example": text(b"v=spf1 include:inc.example -all"),
    "inc.example": text(b"v=spf1 mx -all"),
    "bad.example": text(b"v=spf1 -all"),
    "broken.example": text(b"v=spf1 ip4:1.2.3 -all"),
    "slow.example": never(),
    "down.example": fails(2),
    "long.example": truncated(has(*(Record("TXT", b"x" * 200) for _ in range(12)), Record("TXT", LONG))),
    "last.example": text(b"v=spf1 +all"),
    "macro.example": text(b"v=spf1 exists:%{l}.macro.example -all"),
    "srs0=hh=tt=example.org=anna.macro.example": has(Record("A", "127.0.0.2")),
}


@pytest.fixture
def names():
    """A name server with these records."""
    inc = has(Record("TXT", b"v=spf1 mx -all"), Record("MX", "10 mx.inc.example"))
    more = {"inc.example": inc, "mx.inc.example": has(Record("A", CLIENT))}
    with NameServer({**NAMES, **more}) as server:
        yield server


@pytest.fixture
def make(make_server, names):
    """A function that starts servers which ask it."""

    def make(policy=POLICY, more="", **options):
        server = make_server(policy, **options)
        with server.settings.open("a") as settings:
            settings.write(f'{more}\n[dns]\nservers = ["{names.address}"]\ntimeout = 0.3\n')
        server.start()
        return server

    return make


def ask(server, sender, **attributes):
    with PolicyClient(server.socket_path) as client:
        return client.ask(request(sender=sender, client_address=CLIENT, **attributes))


def results(port):
    """`forkpolicy_spf_total`, by result."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = [line for line in page.read().decode().splitlines() if line.startswith("forkpolicy_spf_total{")]
    return {line.partition('result="')[2].partition('"')[0]: int(line.rpartition(" ")[2]) for line in lines}


def test_each_result_decides(make, names):
    """A first time over the DNS, a second time without it; a DNS that fails decides nothing."""
    server = make(workers=1)
    for _ in range(2):
        assert ask(server, "a@bad.example") == f"550 5.7.23 SPF does not allow {CLIENT} to send this mail"
        assert ask(server, "a@good.example") == "DUNNO"
        assert ask(server, "srs0=hh=tt=example.org=anna@macro.example") == "DUNNO"
        assert ask(server, "bert@macro.example").startswith("550 5.7.23 ")
        assert ask(server, "a@nowhere.example") == "DUNNO"
        assert ask(server, "a@broken.example").startswith("WARN permerror (")
        assert ask(server, "a@long.example") == "DUNNO"
    assert ask(server, "a@down.example").startswith("WARN temperror (")
    assert names.asked["bad.example", "TXT"] == names.asked["mx.inc.example", "A"] == 1
    # By UDP, and then by TCP.
    assert names.asked["long.example", "TXT"] == 2
    assert names.asked["srs0=hh=tt=example.org=anna.macro.example", "A"] == 1


def test_what_is_not_known_fires_nothing(make):
    """A name server that does not answer: neither the ACL nor its `!`, and the next rule is tried."""
    server = make(POLICY.replace("access broken why", ""), workers=1)
    assert ask(server, "a@slow.example") == "DUNNO"


def test_the_header_names_what_was_checked(make):
    """As one reply of access(5)."""
    reply = ask(make(workers=1), "a@good.example", protocol_state="DATA")
    assert reply.startswith("PREPEND Received-SPF: pass (")
    assert f'client-ip={CLIENT}; envelope-from="a@good.example"; ' in reply
    assert reply.endswith('; identity=mailfrom; mechanism="include:inc.example"')


def test_many_that_wait_hold_up_nobody(make, names):
    """Fifty clients wait for a name server that does not answer; one that needs no DNS answer is served meanwhile, and
    each gets its own reply.
    """
    senders = [f"a@{n}.slow.example" if n % 2 else f"a{n}@good.example" for n in range(50)]
    names.zones["slow.example"] = never()
    server = make(workers=1)
    with ThreadPoolExecutor(len(senders)) as pool:
        waiting = [pool.submit(ask, server, sender, protocol_state="DATA") for sender in senders]
        assert ask(server, "a@bad.example").startswith("550 ")
        replies = [each.result() for each in waiting]
    for sender, reply in zip(senders, replies, strict=True):
        assert reply.startswith("WARN temperror (" if "slow" in sender else "PREPEND Received-SPF: pass ("), sender
        assert f'envelope-from="{sender}"' in reply


def test_results_are_counted(make):
    """For the metrics and in `status`, also where no ACL remembers."""
    port = free_port()
    server = make("acl bad spf fail\naction no REJECT\naccess bad no\n", f'[metrics]\nlisten = "inet:127.0.0.1:{port}"')
    for sender in ("a@bad.example", "a@good.example", "b@good.example", "a@down.example"):
        ask(server, sender)
    eventually(lambda: results(port) == {"fail": 1, "pass": 2, "temperror": 1})
    assert server.status()["asked"]["answered"] == {"spf bad fail": 1, "spf bad pass": 2, "spf bad temperror": 1}


def test_other_servers_are_asked_after_a_reload(make, names):
    """What the previous ones said is forgotten."""
    server = make(workers=2)
    assert ask(server, "a@good.example") == "DUNNO"
    with NameServer({"good.example": NAMES["bad.example"]}) as others:
        server.settings.write_text(server.settings.read_text().replace(names.address, others.address))
        assert server.reload().returncode == 0
        assert ask(server, "a@good.example").startswith("550 ")


def test_explain_asks_with_dns_alone(make, names):
    """`not asked` without it; with it who sends for whom, and the result."""
    server = make()
    words = ("sender=a@bad.example", f"client_address={CLIENT}", "recipient=b@example.com")
    said = server.command("explain", *words).stdout
    assert "forged  not asked  only with --dns" in said
    assert not names.asked
    said = server.command("explain", "--dns", *words).stdout
    assert f"forged  yes  {CLIENT} for a@bad.example: fail" in said
    assert "550 5.7.23 SPF does not allow" in said
    said = server.command("explain", "--dns", "sender=a@slow.example", *words[1:]).stdout
    (looked,) = json.loads(server.command("explain", "--dns", "--json", *words).stdout)["lines"][0]["acls"]
    assert looked["asked"] == {"shown": f"{CLIENT} for a@bad.example: fail"}
    assert "cannot be known  temperror: slow.example TXT: no answer in 0.6 s" in said
