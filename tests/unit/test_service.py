"""Another policy server as an ACL: towards it a worker is as exact as Postfix is towards us."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from typing import ClassVar

import gevent
import gevent.socket
import pytest
from gevent.event import Event
from gevent.server import StreamServer

from forkpolicy.commands import main
from forkpolicy.errors import ConfigError, WorldError
from forkpolicy.loading import load_everything
from forkpolicy.policy.checks.find import find_warnings
from forkpolicy.policy.load import load_policy
from forkpolicy.worker.implementation import CHOSEN, PYTHON
from forkpolicy.worker.services import server as server_module
from forkpolicy.worker.services.address import ServiceAddress
from forkpolicy.world.service import MAX_REPLY_BYTES, reply_of
from tests.unit.test_connection import DEADLINE_S, OTHER, PASS, Peer, request, until

POLICY = """
acl from_us sender @example.com
acl grey service unix:peer DEFER_IF_PERMIT 5* {options}
action pass_on {{match.grey}}
action no REJECT no
access from_us grey pass_on
"""
LATER = b"action=DEFER_IF_PERMIT Greylisted, see http://postgrey.example/\n\n"
FAILED = b"action=DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable\n\n"


class Service:
    """A policy server that does what the test says: `script` gets each connection's socket and each request."""

    def __init__(self, place, script):
        self.script, self.requests, self.opened = script, [], 0
        self.listener = gevent.socket.socket(socket.AF_INET if isinstance(place, tuple) else socket.AF_UNIX)
        if isinstance(place, tuple):
            self.listener.bind(place)
        else:
            place.unlink(missing_ok=True)
            self.listener.bind(str(place))
        self.listener.listen(50)
        self.server = StreamServer(self.listener, self.serve)
        self.server.start()

    def serve(self, sock, _address):
        self.opened += 1
        with sock, sock.makefile("rb") as stream:
            raw = b""
            while line := stream.readline():
                raw += line
                if line == b"\n":
                    self.requests.append(raw)
                    raw = b""
                    if self.script(sock, len(self.requests)) is False:
                        return

    def stop(self):
        self.server.stop(timeout=0.01)
        self.listener.close()


def replies(*texts):
    """A script that sends these, one for each request, and the last one again and again."""

    def script(sock, number):
        sock.sendall(texts[min(number, len(texts)) - 1])

    return script


class Asker(Peer):
    """A connection of Postfix to a worker whose policy asks a service."""

    def __init__(self, folder, implementation, options="", policy=POLICY):
        super().__init__(folder, implementation, policy.format(options=options))

    def counts(self):
        """What has become of questions, by result."""
        return {named.partition(" ")[2]: count for named, count in (self.engine.services.counts() or {}).items()}

    def hang_up(self):
        """Close the connections to services that it keeps, as the end of a worker does."""
        for service in self.engine.services._services.values():
            for connection in (*service._free, *service._asked_on):
                connection.close()

    def logged(self, event):
        return [fields["reason"] for _, name, fields in self.log.events if name == event]


@pytest.fixture(params=[PYTHON, CHOSEN], ids=["python", "chosen"])
def make(request, tmp_path):
    """Makes a service and who asks it; ends them."""
    made = []

    def make(script, options="", policy=POLICY):
        service = Service(tmp_path / "peer", script) if script else None
        asker = Asker(tmp_path, request.param, options, policy)
        made.append((service, asker))
        return service, asker

    yield make
    for service, asker in made:
        asker.ours.close()
        asker.connection.close()
        asker.hang_up()
        if service:
            service.stop()


def test_its_reply_is_ours(make):
    """The whole reply, of the request byte for byte; one that is not named does not hold. One connection is kept."""
    service, asker = make(replies(LATER, b"action=dunno\n\n", b"action=554 5.7.1 no\n\n", b"x=y\naction=OK\n\n"))
    odd = request(helo_name="\udcff", made_up="a=b")
    assert asker.ask(odd) == LATER
    assert asker.ask(request()) == PASS
    assert asker.ask(request()) == b"action=554 5.7.1 no\n\n"
    assert asker.ask(request()) == PASS
    assert service.requests == [odd, *[request()] * 3]
    assert service.opened == 1
    assert asker.counts() == {"replied": 4}


def test_who_needs_no_answer_asks_nothing(make):
    """The rule's first ACL does not hold."""
    service, asker = make(replies(LATER))
    assert asker.ask(OTHER) == PASS
    assert not service.requests


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"action=REJ\n\naction=OK\n\n", 'sent "action=OK??" behind its reply'),
        (b"action=DEFER_IF_PERMIT x\n\nmore", 'sent "more" behind its reply'),
        (b"220 mail.example.org ESMTP\r\n", 'replied "220 mail.example.org ESMTP?", which is not a line name=value'),
        (b"\n\n", 'replied "", which is not a line name=value'),
        (b"result=ok\n\n", "replied without an action="),
        (b"action=\n\n", "replied with an empty action=, which Postfix would take for OK"),
        (b"action=DEFER_IF_PERMIT \xff\n\n", 'replied "action=DEFER_IF_PERMIT \\xff", which is not UTF-8'),
        (b"action=DUNNO\r\n\r\n", 'replied "?", which is not a line name=value'),
        (b"a=" + b"x" * MAX_REPLY_BYTES, f"sent more than {MAX_REPLY_BYTES} bytes for one reply"),
    ],
)
def test_what_is_not_one_reply_is_no_answer(make, reply, why):
    """Unknown, so that the next rule is tried, with the reason in the log; the connection is not used again."""
    service, asker = make(replies(reply, LATER))
    assert asker.ask(request()) == PASS
    assert asker.logged("service failed") == [f"unix:{asker.settings.parent}/peer: {why}"]
    assert asker.counts() == {"malformed": 1}
    assert asker.ask(request()) == LATER
    assert service.opened == 2


def test_fail_error_answers_with_on_error(make):
    """What has no answer fails, where the ACL says so."""
    _, asker = make(replies(b"garbage\n"), "fail=error")
    assert asker.ask(request()) == FAILED
    assert "acl grey: unix:" in asker.logged("evaluation failed")[0]


def test_a_reply_in_pieces_is_one(make):
    """Byte by byte."""

    def script(sock, _):
        for byte in LATER:
            sock.sendall(bytes([byte]))
            gevent.sleep(0)

    _, asker = make(script)
    assert asker.ask(request()) == LATER


def test_a_kept_connection_that_was_closed_is_no_failure(make):
    """As Postfix does: the request is asked again, once, on a new connection."""
    service, asker = make(lambda sock, _: sock.sendall(LATER))
    assert asker.ask(request()) == LATER
    # It reads the next request, and closes.
    service.script = lambda sock, number: False if number == 2 else sock.sendall(LATER)
    assert asker.ask(request("b@example.com")) == LATER
    assert service.requests[1] == service.requests[2] == request("b@example.com")
    assert asker.counts() == {"replied": 2, "repeated": 1}


def test_it_is_asked_again_once_only(make):
    """The new connection is closed, too."""
    service, asker = make(replies(LATER))
    assert asker.ask(request()) == LATER
    service.script = lambda _sock, _number: False
    assert asker.ask(request()) == PASS
    assert len(service.requests) == 3
    assert asker.counts() == {"replied": 1, "repeated": 1, "closed": 1}


def test_a_connection_closed_while_idle_costs_nothing(make):
    """Who closes behind each reply is asked on a new connection each time."""

    def script(sock, _):
        sock.sendall(LATER)
        return False

    service, asker = make(script)
    for _ in range(5):
        assert asker.ask(request()) == LATER
    assert service.opened == len(service.requests) == 5
    assert set(asker.counts()) <= {"replied", "repeated"}


def test_what_comes_unasked_answers_nobody(make):
    """Bytes that wait in a kept connection are not the reply to the next request."""
    sockets = []

    def script(sock, number):
        sockets.append(sock)
        sock.sendall(LATER if number == 1 else b"action=554 asked\n\n")

    service, asker = make(script)
    assert asker.ask(request()) == LATER
    sockets[0].sendall(b"action=554 unasked\n\n")
    assert asker.ask(request()) == b"action=554 asked\n\n"
    assert service.opened == 2


def test_a_late_reply_answers_nobody(make):
    """Given up at the time limit; its connection is closed before the reply comes."""
    may_reply, has_replied = Event(), Event()

    def script(sock, number):
        if number > 1:
            sock.sendall(b"action=554 yours\n\n")
            return
        may_reply.wait()
        with contextlib.suppress(OSError):
            sock.sendall(LATER)
        has_replied.set()

    service, asker = make(script, "timeout=1s")
    began_s = time.monotonic()
    assert asker.ask(request()) == PASS
    assert 0.9 <= time.monotonic() - began_s < DEADLINE_S
    assert asker.logged("service failed")[0].endswith(": no reply within 1 s")
    may_reply.set()
    has_replied.wait()
    assert asker.ask(request()) == b"action=554 yours\n\n"
    assert service.opened == 2
    assert asker.counts() == {"late": 1, "replied": 1}


def test_half_a_reply_is_none(make):
    """It closes in the middle: the request is not asked again, even on a kept connection."""
    service, asker = make(replies(LATER))
    assert asker.ask(request()) == LATER

    def half(sock, _):
        sock.sendall(b"action=DEFER_IF_PERMIT\n")
        return False

    service.script = half
    assert asker.ask(request()) == PASS
    assert len(service.requests) == 2
    assert "in the middle of its reply" in asker.logged("service failed")[0]


def test_nobody_listens(make, monkeypatch):
    """Questions fail at once while it rests; then one request tries it, and it is asked again."""
    monkeypatch.setattr(server_module, "FIRST_REST_S", 0.3)
    _, asker = make(None)
    assert [asker.ask(request()) for _ in range(20)] == [PASS] * 20
    counts = asker.counts()
    assert counts["unreachable"] <= 2
    assert asker.logged("service failed") == [
        f"unix:{asker.settings.parent}/peer: cannot be connected to: No such file or directory"
    ]
    service = Service(asker.settings.parent / "peer", replies(LATER))
    until(lambda: asker.ask(request()) == LATER)
    service.stop()
    assert asker.logged("service replies again") == [f"unix:{asker.settings.parent}/peer replies again"]


def test_a_rest_becomes_longer(make, monkeypatch):
    """Each trial that fails doubles it: a dead server is hardly asked."""
    monkeypatch.setattr(server_module, "FIRST_REST_S", 0.01)
    _, asker = make(None)
    end_s, asked = time.monotonic() + 0.5, 0
    while time.monotonic() < end_s:
        assert asker.ask(request()) == PASS
        asked += 1
    assert asker.counts()["unreachable"] <= 8 < asked


def test_three_that_fail_make_it_rest(make):
    """One bad reply says nothing of the next request; three without a good one between them do."""
    service, asker = make(replies(b"x\n", b"x\n", LATER, b"x\n", b"x\n", b"x\n", LATER))
    assert [asker.ask(request()) for _ in range(8)] == [PASS, PASS, LATER, PASS, PASS, PASS, PASS, PASS]
    assert len(service.requests) == 6
    assert asker.counts() == {"malformed": 5, "replied": 1, "refused": 2}


def test_a_request_of_any_length_is_sent(make):
    """More than the socket takes at once."""
    service, asker = make(replies(LATER))
    long = request(made_up="x" * 60000)
    assert asker.ask(long) == LATER
    assert service.requests == [long]


def test_equal_questions_of_a_request_are_asked_once(make):
    """Two ACLs of one server: it may count what it is asked."""
    policy = """
acl grey service unix:peer DEFER_IF_PERMIT
acl marked service unix:peer PREPEND timeout=9s {options}
action mark {{match.marked}}
action later 450 4.7.1 {{match-text.grey}}
access grey later
access marked mark
"""
    service, asker = make(replies(b"action=PREPEND X-Greylist: delayed\n\n", LATER), policy=policy)
    assert asker.ask(request()) == b"action=PREPEND X-Greylist: delayed\n\n"
    assert asker.ask(request()) == b"action=450 4.7.1 Greylisted, see http://postgrey.example/\n\n"
    assert len(service.requests) == 2


def test_equal_questions_fail_once(make):
    """The second ACL does not ask again what had no answer."""
    policy = """
acl grey service unix:peer DEFER_IF_PERMIT
acl bad service unix:peer REJECT fail=error {options}
action no REJECT no
access grey no
access bad no
"""
    service, asker = make(replies(b"x\n"), policy=policy)
    assert asker.ask(request()) == FAILED
    assert len(service.requests) == 1


def test_what_postfix_would_not_take_is_answered_with_on_error(make):
    """The whole reply is checked as an action of the policy is when it is loaded."""
    _, asker = make(replies(b"action=554\n\n", b"action=DEFER_IF_PERMIT " + b"x" * 500 + b"\n\n"))
    assert asker.ask(request()) == FAILED
    assert asker.ask(request()) == FAILED
    assert "554 without a text" in asker.logged("evaluation failed")[0]


def test_requests_of_one_connection_keep_their_order(make):
    """Replies come in the order of the requests, however long each takes."""
    waiting = []
    service, asker = make(lambda sock, number: waiting.append((sock, number)))
    asker.ours.sendall(request() + OTHER + request("z@example.com"))
    until(lambda: waiting)
    assert len(service.requests) == 1
    waiting.pop()[0].sendall(LATER)
    until(lambda: waiting)
    waiting.pop()[0].sendall(b"action=554 second\n\n")
    assert asker.ask(replies=3) == LATER + PASS + b"action=554 second\n\n"


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_connections_than_allowed(make, monkeypatch, most):
    """Questions beyond them wait, in order."""
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", most)
    waiting = []
    service, asker = make(lambda sock, _: waiting.append(sock))
    matcher = asker.engine.policy.model.acls["grey"].asks
    got = []
    for number in range(5):
        asker.engine.services.begin(matcher.question({}), request(str(number)), got.append)
    for _ in range(5):
        until(lambda: waiting)
        assert service.opened <= most
        waiting.pop(0).sendall(LATER)
    until(lambda: len(got) == 5)
    expected = [request(str(number)) for number in range(5)]
    assert service.requests == expected if most == 1 else sorted(service.requests) == expected
    assert service.opened == most


def test_questions_about_one_message_go_to_one_connection(make):
    """As from Postfix: policyd-spf knows there which messages have their header."""
    asked_on = {}

    def script(sock, number):
        instance = service.requests[-1].rpartition(b"instance=")[2].strip()
        asked_on.setdefault(instance, []).append(sock)
        if number > 2:
            sock.sendall(LATER)

    service, asker = make(script)
    question, got = asker.engine.policy.model.acls["grey"].asks.question({}), []

    def ask(instance):
        asker.engine.services.begin(question, request(instance=instance), got.append)

    ask("a")
    ask("b")
    until(lambda: len(asked_on) == 2)
    for (sock,) in list(asked_on.values()):
        sock.sendall(LATER)
    until(lambda: len(got) == 2)
    for number, instance in enumerate("abbaabab", 3):
        ask(instance)
        until(lambda: len(got) == number)  # noqa: B023 - called here
    assert [len(set(sockets)) for sockets in asked_on.values()] == [1, 1]
    assert [len(sockets) for sockets in asked_on.values()] == [5, 5]


def test_idle_connections_are_closed(make, monkeypatch):
    """Before the server closes them."""
    monkeypatch.setattr(server_module, "TIDY_S", 0.01)
    monkeypatch.setattr(server_module, "IDLE_S", 0.02)
    ended = []

    class Watched(Service):
        def serve(self, sock, address):
            super().serve(sock, address)
            ended.append(1)

    _, asker = make(None)
    service = Watched(asker.settings.parent / "peer", replies(LATER))
    assert asker.ask(request()) == LATER
    until(lambda: ended)
    assert asker.ask(request()) == LATER
    service.stop()


def test_a_name_is_looked_up_aside(make, monkeypatch):
    """In a thread: a resolver that takes its time holds up nobody; all addresses are tried."""
    service = Service(("127.0.0.1", 0), replies(LATER))
    port = service.server.server_port
    real, asked, begun, turned = socket.getaddrinfo, [], threading.Event(), threading.Event()

    def slow(host, *arguments, **options):
        asked.append(host)
        begun.set()
        assert turned.wait(DEADLINE_S)
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    def turn():
        gevent.get_hub().threadpool.apply(begun.wait, (DEADLINE_S,))
        turned.set()

    turns = gevent.spawn(turn)
    _, asker = make(None, policy=POLICY.replace("unix:peer", f"inet:localhost:{port}"))
    assert asker.ask(request()) == LATER
    assert asker.ask(request()) == LATER
    turns.join()
    assert asked == ["localhost"]
    service.stop()


def test_a_look_up_that_takes_longer_than_the_time_limit(make, monkeypatch):
    """The question is over, once; what the resolver says later is about the next one."""
    may_answer, asked = threading.Event(), []

    def no_resolver(*_arguments, **_options):
        asked.append(1)
        assert may_answer.wait(DEADLINE_S)
        raise OSError("no resolver")

    monkeypatch.setattr(socket, "getaddrinfo", no_resolver)
    _, asker = make(None, "timeout=1s", POLICY.replace("unix:peer", "inet:nobody.invalid:10023"))
    assert asker.ask(request()) == PASS
    assert asker.counts() == {"late": 1}
    may_answer.set()
    assert asker.ask(request()) == PASS
    until(lambda: "unreachable" in asker.counts())
    assert asker.counts() == {"late": 1, "unreachable": 1}


def test_a_name_without_an_address(make):
    """Is a server that cannot be reached."""
    _, asker = make(None, policy=POLICY.replace("unix:peer", "inet:nobody.invalid:10023"))
    assert asker.ask(request()) == PASS
    assert "inet:nobody.invalid:10023: has no address: " in asker.logged("service failed")[0]


def test_names_are_looked_up_again(monkeypatch):
    """What is known is used meanwhile, and kept where the resolver fails."""

    def no_resolver(*_arguments, **_options):
        raise OSError("x")

    found = []
    address = ServiceAddress("inet:localhost:25", lambda: found.append(1))
    assert not address.is_known
    until(lambda: found)
    places = address.places
    monkeypatch.setattr("time.monotonic", lambda: 1e9)
    monkeypatch.setattr(socket, "getaddrinfo", no_resolver)
    assert address.is_known
    until(lambda: len(found) == 2)
    assert address.places == places
    assert address.why_none == "x"


def refused(text, **options):
    with pytest.raises(ConfigError) as caught:
        load_policy_text(text, **options)
    return [each.message for each in caught.value.diagnostics]


def load_policy_text(text, tmp="/tmp", **options):
    class Files:
        snapshot: ClassVar[dict[str, bytes]] = {}

        def read(self, _path):
            return text.encode()

    return load_policy(f"{tmp}/policy.conf", lambda _: None, files=Files(), **options)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("unix:x", "expected service ENDPOINT ACTION..., as in"),
        ("postgrey DUNNO", 'expected "unix:/path/of/socket" or "inet:127.0.0.1:10040", got "postgrey"'),
        ("inet:localhost:99999 DUNNO", "expected a port from 1 to 65535"),
        ("unix:x REJCT", '"REJCT" is not an action of access(5): did you mean "REJECT"?'),
        ("unix:x 2*", '"2*" is not an action of access(5)'),
        ("unix:x DUNNO timeout=0s", "timeout=0s: expected 1s to 100s"),
        ("unix:x DUNNO timeout=2", "did you mean 2s?"),
        ("unix:x DUNNO fail=maybe", "fail=maybe: expected error or skip"),
        ("unix:/" + "x" * 110 + " DUNNO", "the path of a socket has 107 bytes at most"),
    ],
)
def test_mistakes(values, message):
    """Each names the word that is wrong and what was expected."""
    assert message in refused(f"acl x service {values}\n")[0]


@pytest.mark.parametrize(
    ("own", "endpoint"),
    [
        ("unix:/tmp/own", "unix:own"),
        ("unix:/tmp/own", "unix:/tmp/x/../own"),
        ("inet:127.0.0.1:10040", "inet:127.0.0.1:10040"),
        ("inet:0.0.0.0:10040", "inet:127.0.0.1:10040"),
        ("inet:[::1]:10040", "inet:localhost:10040"),
        ("inet:127.0.0.1:10040", "inet:LocalHost:10040"),
    ],
)
def test_one_of_our_own_sockets_is_a_mistake(own, endpoint):
    """The server would ask itself."""
    (message,) = refused(f"acl x service {endpoint} DUNNO\n", own_sockets=[own])
    assert message == f"{own} is a socket of this server: it would ask itself"
    load_policy_text(f"acl x service {endpoint} DUNNO\n", own_sockets=["inet:127.0.0.1:1", "unix:/tmp/other"])


def test_own_sockets_are_those_of_the_settings(tmp_path):
    """Each of `listen`, `control` and `metrics`, relative paths by the settings' directory."""
    settings = tmp_path / "forkpolicy.toml"
    settings.write_text('[server]\nlisten = ["unix:own", "inet:127.0.0.1:10040"]\ncontrol = "unix:control"\n')
    for endpoint in ("unix:own", "unix:control", "inet:127.0.0.1:10040"):
        (tmp_path / "policy.conf").write_text(f"acl x service {endpoint} DUNNO\n")
        with pytest.raises(ConfigError, match="is a socket of this server"):
            load_everything(settings)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("FILTER {match-text.grey}", "lets the server that is asked choose where mail goes"),
        ("REDIRECT {match.grey}", "lets the server that is asked choose where mail goes"),
        ("PREPEND {match-text.grey}", "lets the server that is asked choose which header this is"),
        ("REJECT {match-text.plain}", 'acl "plain" asks no service'),
        ("REJECT {match-text.gray}", 'unknown acl "gray"'),
        ("{match.plain}", "asks no table and remembers nothing"),
        ("{match.grey} more", "the action itself is written out"),
    ],
)
def test_what_a_service_may_not_choose(action, message):
    """Its text is put into texts; its whole reply is one only alone."""
    text = f"acl plain sender x@y.example\nacl grey service unix:x FILTER\naction a {action}\n"
    assert any(message in each for each in refused(text))


def test_the_default_is_no_reply_of_a_service():
    """At the end of the policy no service need have replied."""
    (message,) = refused("acl grey service unix:x DUNNO\naction default {match.grey}\n")
    assert message == '"default" must be a reply, and a service is not one'


def test_actions_that_hold():
    """Folded, by code and by class of codes."""
    policy, _ = load_policy_text("acl x service unix:x dunno 4* 554 reject_unverified_sender\n")
    matcher = policy.model.acls["x"].asks
    holding = ["DUNNO", "dunno x", "450 4.7.1 x", "499", "554 5.7.1 x", "Reject_Unverified_Sender"]
    others = ["OK", "550 x", "4", "4504 x", "DEFER", "45x y", "5* x", "DUNNOX"]
    assert [each for each in (*holding, *others) if matcher.read(each).holds] == holding


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            "access grey at_rcpt pass_on",
            "grey asks unix:/tmp/x about requests that the rest of the rule excludes\n    put at_rcpt in front of it",
        ),
        (
            "access at_rcpt !grey pass_on",
            "pass_on is the reply for which grey holds, and this rule fires without one: on_error\n    add grey",
        ),
        ("access at_rcpt grey pass_on\naccess at_rcpt pass_on", "pass_on is the reply for which grey holds"),
    ],
)
def test_check_warns_of_what_may_surprise(rules, message):
    """A service that is asked in vain, and a reply that is not there."""
    text = "acl at_rcpt protocol_state RCPT\nacl grey service unix:x 4*\naction pass_on {match.grey}\n"
    policy, _ = load_policy_text(f"{text}{rules}\n")
    (warning,) = find_warnings(policy.model, {})
    assert message in f"{warning.message}\n    {warning.hint}"


def test_check_knows_what_a_reply_may_be():
    """A service that may say OK ends Postfix's list, and one that may say 5xx refuses what was counted."""
    text = "acl x service unix:x OK 554\nacl many rate {sender} 2/1h\naction a {match.x}\naction slow 450 4.7.1 slow\n"
    policy, _ = load_policy_text(f"{text}access many slow\naccess x a\n")
    found = [each.message for each in find_warnings(policy.model, {})]
    assert "OK also skips the restrictions that follow in Postfix's list" in found
    assert any(each.startswith("many counts mail that a later rule may refuse") for each in found)


def test_check_warns_of_time_limits_beyond_the_budget():
    """Such a request gets no answer before the limit: it has waited for too long."""
    text = "acl grey service unix:x 4* timeout={}\naction pass_on {{match.grey}}\naccess grey pass_on\n"
    found = [find_warnings(load_policy_text(text.format(limit))[0].model, {}, 4.0) for limit in ("3s", "4s")]
    assert found[0] == []
    (warning,) = found[1]
    assert warning.message == "no request waits for grey for 4 s: [state] budget = 4 is for all"


def test_explain_and_replay_ask_nobody(tmp_path, capsys):
    """The term shows that it was not asked, and nothing connects to the server."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "peer"))
        listener.listen()
        listener.setblocking(False)
        (tmp_path / "forkpolicy.toml").write_text("")
        (tmp_path / "policy.conf").write_text(POLICY.format(options="fail=error"))
        (tmp_path / "requests").write_bytes(request())
        settings = ["-c", str(tmp_path / "forkpolicy.toml")]
        assert main(["explain", *settings, "sender=a@example.com"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith("action=DUNNO")
        assert re.search("^  grey +not asked  services are never asked here$", shown, re.MULTILINE)
        assert main(["replay", *settings, str(tmp_path / "requests")]) == 0
        assert "DUNNO" in capsys.readouterr().out
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_reply_is_whole_with_its_empty_line():
    """Cut anywhere before, there is none yet."""
    whole = b"x=y\naction= REJECT a=b \naction=OK\n\n"
    assert [reply_of(whole[:at]) for at in range(len(whole))] == [None] * len(whole)
    assert reply_of(whole) == "REJECT a=b"
    with pytest.raises(WorldError):
        reply_of(whole + b"x")
