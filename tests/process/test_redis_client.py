"""The connection of a worker to an engine, against Debian's redis-server: nothing twice, nothing mixed up, in time."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import threading

import gevent
import hiredis
import pytest
import redis
from gevent.socket import wait_read

from forkpolicy.errors import StateError
from forkpolicy.policy.answers import MustWait
from forkpolicy.redis_urls import parse_url
from forkpolicy.state.questions.listed import Listed, Remember
from forkpolicy.state.questions.rate import Limit, Rate
from forkpolicy.state.redis.access import Access
from forkpolicy.state.redis.store import RedisStore
from forkpolicy.worker.redis import breaker
from forkpolicy.worker.redis.connection import Connection
from forkpolicy.worker.redis.places import slot_of
from forkpolicy.worker.redis.store import RemoteStore
from forkpolicy.worker.redis.transport import TlsTransport
from loadtest.servers.pausing import pause
from loadtest.servers.ports import free_port
from tests.redis_servers import BUS, RedisServer, needs_redis

pytestmark = needs_redis
DEADLINE_S = 30.0


class Log:
    def __init__(self):
        self.events = []

    def event(self, _level, event, **fields):
        self.events.append((event, str(fields)))

    @property
    def names(self):
        return [event for event, _ in self.events]


class Client:
    """A store as a worker has it, and what it has answered."""

    def __init__(self, access):
        self.log = Log()
        self.store = RemoteStore(access, self.log)
        self.answers = []

    def begin(self, *questions):
        for question in questions:
            self.store.begin(question, b"", self.answers.append)

    def ask(self, *questions):
        """All answers, in order; exceptions are answers, too."""
        self.answers.clear()
        self.begin(*questions)
        until(lambda: len(self.answers) == len(questions))
        return self.answers

    def close(self):
        self.store.close()
        # A greenlet that connects closes its socket in its own turn.
        gevent.sleep(0)

    def is_refused(self):
        try:
            self.store.ask(message("x"))
        except StateError:
            return True
        except MustWait:
            return False


def until(condition):
    with gevent.Timeout(DEADLINE_S):
        while not condition():
            gevent.sleep(0.002)


def message(instance, key="a", most=100):
    return Rate("busy", (key,), (Limit(most, 3600),), "messages", 1, instance)


def used(access, key="a"):
    """How much was counted, by another connection."""
    store = RedisStore(access)
    found = store.peek(message("never", key)).used[0]
    store.close()
    return found


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def connect():
    made = []

    def make(access):
        made.append(Client(access))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_questions_of_one_turn_go_out_together_and_come_back_in_order(server, connect):
    """A hundred pass, whichever they are; answers are those of their questions."""
    client = connect(server.access())
    answers = client.ask(*[message(f"i{number}") for number in range(130)])
    assert [answer.over for answer in answers] == [False] * 100 + [True] * 30
    assert [answer.used[0] for answer in answers] == [*range(100), *[100] * 30]
    assert used(server.access()) == 100


def test_what_is_told_comes_before_what_is_asked_behind_it(server, connect):
    """`remember` waits for nobody, and a later `listed` of the same key sees it."""
    client = connect(server.access())
    lost = []
    client.store.tell(Remember("traps", ("a",), 60), lost.append)
    (answer,) = client.ask(Listed("traps", ("a",)))
    assert answer.until_s
    assert lost == []


def test_a_script_that_nobody_has_called_yet_keeps_its_place(server, connect):
    """The server knows it before it is called: sent again it would run behind what follows it."""
    client = connect(server.access())
    client.ask(Listed("traps", ("a",)))
    lost = []
    client.store.tell(Remember("traps", ("a",), 60), lost.append)
    (answer,) = client.ask(Listed("traps", ("a",)))
    assert answer.until_s
    assert lost == []


def test_a_user_that_may_not_load_scripts_sends_them_whole(tmp_path, connect):
    """Slower, in the first question alone; no failure."""
    server = RedisServer(tmp_path / "redis", "--user", "default", "on", "nopass", "~*", "+@all", "-script")
    try:
        answers = connect(server.access()).ask(message("a"), message("b"))
        assert [answer.used for answer in answers] == [(0,), (1,)]
    finally:
        server.stop()


def test_a_server_that_forgets_its_scripts_gets_them_again(server, connect):
    """Restarted empty, or flushed: a script that was unknown has not run, and is sent whole."""
    client = connect(server.access())
    client.ask(message("a"))
    with redis.Redis(unix_socket_path=server.socket) as admin:
        admin.script_flush()
    answers = client.ask(message("b"), message("c"))
    assert [answer.used[0] for answer in answers] == [1, 2]


def test_a_killed_server_fails_what_it_had_and_is_found_again(server, connect):
    """Every question is answered once; nothing is sent again; both changes are logged once."""
    client = connect(server.access())
    client.ask(message("a"))
    pause(server.process.pid)
    client.begin(*[message(f"i{number}") for number in range(20)])
    gevent.sleep(0.01)
    server.stop()
    until(lambda: len(client.answers) == 21)
    assert all(isinstance(answer, StateError) for answer in client.answers[1:])
    until(client.is_refused)
    assert isinstance(client.ask(message("x"))[0], StateError)
    server.start()
    until(lambda: not client.is_refused())
    (answer,) = client.ask(message("b"))
    assert answer.used == (0,)
    assert client.log.names == ["engine down", "engine up"]


def test_a_server_that_stands_still_is_not_asked_twice(server, connect):
    """What it did not answer in time fails at once, all of it; once it goes on it may have counted that, once."""
    client = connect(server.access(timeout_s=0.2))
    client.ask(message("a"))
    pause(server.process.pid)
    client.answers.clear()
    client.begin(*[message(f"i{number}") for number in range(10)])
    until(lambda: len(client.answers) == 10)
    assert {str(answer) for answer in client.answers} == {f"{server.socket}: it did not answer within 0.2 s"}
    os.kill(server.process.pid, signal.SIGCONT)
    until(lambda: not client.is_refused())
    until(lambda: not isinstance(client.ask(message("later"))[0], StateError))
    assert used(server.access()) in (2, 12)


def test_a_pause_that_is_shorter_than_the_limit_is_waited_for(server, connect):
    """No failure, no event."""
    client = connect(server.access(timeout_s=5.0))
    client.ask(message("a"))
    pause(server.process.pid)
    client.answers.clear()
    client.begin(message("b"))
    gevent.sleep(0.3)
    assert client.answers == []
    os.kill(server.process.pid, signal.SIGCONT)
    until(lambda: client.answers)
    assert client.answers[0].used == (1,)
    assert client.log.events == []


def connections(admin):
    """The ids of those that have been answered a PING, but for the admin's own."""
    return {each["id"] for each in admin.client_list() if each["cmd"] != "client|list"}


def test_a_server_may_close_what_is_idle(server, connect):
    """As its `timeout` does at night: the next connection is there at once, and nobody is told of a failure."""
    client = connect(server.access())
    client.ask(message("a"))
    with redis.Redis(unix_socket_path=server.socket) as admin:
        for _ in range(breaker.MOST_FAILURES + 1):
            before = connections(admin)
            admin.client_kill_filter(_type="normal", skipme=True)
            until(lambda: connections(admin) - before)  # noqa: B023 - called now
    (answer,) = client.ask(message("b"))
    assert answer.used == (1,)
    assert client.log.events == []


def test_a_replica_is_not_connected_to_for_each_question(server, tmp_path, connect):
    """It refuses all of them. Its PING makes nobody believe that it is up, and there is one line in the log."""
    replica = RedisServer(tmp_path / "replica", "--replicaof", "127.0.0.1 1")
    try:
        client = connect(replica.access())
        assert "READONLY" in str(client.ask(message("a"))[0])
        for number in range(40):
            assert isinstance(client.ask(message(f"i{number}"))[0], StateError)
            gevent.sleep(0.02)
        with redis.Redis(unix_socket_path=replica.socket) as admin:
            assert admin.info("stats")["total_connections_received"] < 10
            assert client.log.names == ["engine down"]
            assert not client.store.is_up
            admin.replicaof("NO", "ONE")
        until(lambda: not isinstance(client.ask(message("later"))[0], StateError))
        assert client.log.names == ["engine down", "engine up"]
    finally:
        replica.stop()


def test_a_full_engine_is_a_failure_of_each_question(tmp_path, connect):
    """Not "not listed"; and the engine counts as reachable."""
    server = RedisServer(tmp_path / "full", "--maxmemory", "1kb")
    try:
        client = connect(server.access())
        (answer,) = client.ask(message("a"))
        assert isinstance(answer, StateError)
        assert "OOM" in str(answer)
        assert not client.is_refused()
    finally:
        server.stop()


USERS = ["--user", "mail", "on", ">s3cret", "~*", "+@all", "--user", "default", "off"]


@pytest.mark.parametrize(("password", "works"), [("s3cret", True), ("wrong", False)])
def test_a_password_is_sent_and_never_shown(tmp_path, connect, password, works):
    """Of a user, here. A wrong one opens the breaker."""
    server = RedisServer(tmp_path / "auth", *USERS)
    (tmp_path / "password").write_text(password + "\n")
    try:
        client = connect(server.access(user="mail", password_file=str(tmp_path / "password")))
        (answer,) = client.ask(message("a"))
        assert isinstance(answer, StateError) is not works
        assert password not in str(answer) + str(client.log.events)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A CA, and a certificate of it for localhost; another CA."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"),
            *("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )
    openssl(
        *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"),
        *("-keyout", "server.key", "-out", "server.csr"),
    )
    (folder / "ext").write_text("subjectAltName=DNS:localhost\n")
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", "9", "-extfile", "ext", "-out", "server.pem"),
    )
    return folder


@pytest.fixture
def tls_server(tmp_path, certificates):
    port = free_port()
    server = RedisServer(
        tmp_path / "tls",
        *("--tls-port", str(port), "--tls-cert-file", str(certificates / "server.pem")),
        *("--tls-key-file", str(certificates / "server.key"), "--tls-auth-clients", "no"),
    )
    server.tls_port = port
    yield server
    server.stop()


def test_tls_is_spoken_and_certificates_are_checked(tls_server, certificates, connect):
    """By the given CA and for the name in the URL: any other is refused with a reason."""
    url = parse_url(f"rediss://localhost:{tls_server.tls_port}")
    client = connect(Access(url, ca_file=str(certificates / "ca.pem"), timeout_s=5.0))
    answers = client.ask(*[message(f"i{number}") for number in range(500)])
    assert [answer.over for answer in answers].count(False) == 100
    for wrong, ca_file in ((url, "other.pem"), (parse_url(f"rediss://127.0.0.1:{tls_server.tls_port}"), "ca.pem")):
        (answer,) = connect(Access(wrong, ca_file=str(certificates / ca_file), timeout_s=5.0)).ask(message("x"))
        assert "certificate is not accepted" in str(answer)


@pytest.mark.parametrize("has_one", [True, False], ids=["certificate", "none"])
def test_a_server_may_ask_for_a_certificate(tmp_path, certificates, connect, has_one):
    """With it all is well; without it the reason is what the server says of it, if that comes before its end."""
    port = free_port()
    files = {name: str(certificates / f"server.{kind}") for name, kind in (("cert_file", "pem"), ("key_file", "key"))}
    server = RedisServer(
        tmp_path / "tls",
        *("--tls-port", str(port), "--tls-cert-file", files["cert_file"], "--tls-key-file", files["key_file"]),
        *("--tls-ca-cert-file", str(certificates / "ca.pem"), "--tls-auth-clients", "yes"),
    )
    try:
        url = parse_url(f"rediss://localhost:{port}")
        own = files if has_one else {}
        client = connect(Access(url, ca_file=str(certificates / "ca.pem"), timeout_s=5.0, **own))
        (answer,) = client.ask(message("a"))
        if has_one:
            assert answer.used == (0,)
        else:
            said = "TLS failed: .*CERTIFICATE_REQUIRED|Connection reset by peer|Broken pipe|closed the connection"
            assert re.fullmatch(f"localhost:{port}:? ({said})", str(answer)), str(answer)
    finally:
        server.stop()


def test_a_handshake_that_stalls_ends_in_time(certificates, connect):
    """A server that accepts and says nothing; no greenlet or socket of it is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = parse_url(f"rediss://127.0.0.1:{listener.getsockname()[1]}")
        client = connect(Access(url, ca_file=str(certificates / "ca.pem"), timeout_s=0.2))
        (answer,) = client.ask(message("a"))
        assert "did not answer within 0.2 s" in str(answer)
        client.close()
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(DEADLINE_S)
            while accepted.recv(65536):
                pass


class SlowTlsServer:
    """Reads nothing until it is allowed to, then executes: a list of the first words, each answered by OK."""

    def __init__(self, certificates):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.may_read = threading.Event()
        self.executed = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        accepted, _ = self.listener.accept()
        reader = hiredis.Reader()
        with contextlib.suppress(OSError), self.context.wrap_socket(accepted, server_side=True) as client:
            self.may_read.wait(DEADLINE_S)
            while data := client.recv(65536):
                reader.feed(data)
                while (command := reader.gets()) is not False:
                    self.executed.append(command[0])
                    client.sendall(b"+OK\r\n")


def test_what_a_full_socket_does_not_take_is_not_encrypted_twice(certificates):
    """A server that stands still while many ask: each command is executed once."""
    server = SlowTlsServer(certificates)
    sock = socket.create_connection(server.listener.getsockname())
    sock.setblocking(False)
    transport = TlsTransport(sock, ssl.create_default_context(cafile=certificates / "ca.pem"), "localhost")
    while not transport.handshake():
        transport.flush()
        wait_read(sock.fileno())
        transport.receive()
    transport.flush()
    replies, ends = [], []
    connection = Connection(transport, DEADLINE_S, lambda _connection, reason, _ended: ends.append(reason))
    numbers = [b"%d" % number for number in range(2000)]
    for number in numbers:
        connection.send(hiredis.pack_command((number, b"x" * 3000)), replies.append)
        gevent.sleep(0)
    assert transport.unsent
    server.may_read.set()
    until(lambda: len(replies) == len(numbers) or ends)
    assert ends == []
    assert server.executed == numbers
    connection.close("over")
    server.thread.join(DEADLINE_S)
    server.listener.close()


def test_a_name_that_nobody_resolves_holds_up_nothing_else(connect, monkeypatch):
    """Each attempt ends in time, and the threads in which tables are checked stay free."""
    resolves = threading.Event()

    def hang(*_arguments, flags=0, **_more):
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        resolves.wait(DEADLINE_S)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        clients = [connect(Access(parse_url("redis://engine.example"), timeout_s=0.1)) for _ in range(12)]
        for client in clients:
            assert "engine.example:6379 did not answer within 0.1 s" in str(client.ask(message("a"))[0])
        with gevent.Timeout(DEADLINE_S / 2):
            assert gevent.get_hub().threadpool.apply(lambda: "free") == "free"
    finally:
        resolves.set()


def test_a_full_queue_of_connections_is_no_connection(tmp_path, connect):
    """Of a UNIX socket the kernel says so at once, and then calls the socket writable."""
    path = tmp_path / "engine"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(str(path))
        listener.listen(0)
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        (answer,) = connect(Access(parse_url(f"unix://{path}"), timeout_s=5.0)).ask(message("a"))
    assert str(answer) == f"{path}: it accepts connections too slowly"


class Hostile:
    """A server that takes scripts and replies to a PING, and to any other command with what the test says; perhaps
    byte by byte.
    """

    def __init__(self, reply, *, closes=False, dribbles=False):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.reply, self.closes, self.dribbles = reply, closes, dribbles
        self.asked = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client, contextlib.suppress(OSError):
                    self.serve(client)

    def serve(self, client):
        reader = hiredis.Reader()
        while data := client.recv(65536):
            reader.feed(data)
            while (command := reader.gets()) is not False:
                if command[0] in (b"PING", b"SCRIPT"):
                    client.sendall(b"+PONG\r\n")
                    continue
                self.asked += 1
                for piece in self.pieces():
                    client.sendall(piece)
                if self.closes:
                    return

    def pieces(self):
        return [self.reply[at : at + 1] for at in range(len(self.reply))] if self.dribbles else [self.reply]

    def close(self):
        # shutdown wakes accept(); close alone would not.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(DEADLINE_S)


@pytest.mark.parametrize("dribbles", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(
    ("reply", "closes", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False, "not one of an engine"),
        (b"*3\r\n:0\r\n", False, "did not answer within"),
        (b"", False, "did not answer within"),
        (b"*3\r\n:0\r\n", True, "closed the connection"),
        (b"*3\r\n:0\r\n:0\r\n:1\r\n+more\r\n", False, ""),
        (b"-ERR what\r\n", False, "ERR what"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", False, "LOADING"),
        (b"-READONLY You can't write against a read only replica.\r\n", False, "READONLY"),
        (b"-MOVED 1 127.0.0.1:1\r\n", False, "MOVED"),
        (b"$-1\r\n", False, "not one of our script"),
        (b"*1\r\n$1\r\nx\r\n", False, "not one of our script"),
    ],
    ids=["http", "half", "silent", "half and end", "more", "error", "loading", "replica", "moved", "nil", "text"],
)
def test_a_server_that_is_none_fails_what_it_is_asked(connect, reply, closes, said, dribbles):
    """Once each, in words; it is never the answer of another question."""
    hostile = Hostile(reply, closes=closes, dribbles=dribbles)
    try:
        client = connect(Access(parse_url(f"redis://127.0.0.1:{hostile.port}"), timeout_s=0.3))
        (answer,) = client.ask(message("a"))
        if said:
            assert isinstance(answer, StateError)
            assert said in str(answer)
        else:
            assert answer.used == (1,)
        assert hostile.asked <= 2
    finally:
        client.close()
        hostile.close()


def test_delays_grow_and_differ():
    """From a quarter of a second to half a minute, each by chance half as long or as long again."""
    times = breaker.Breaker()
    times.failed("x", is_certain=True)
    delays = [times.next_delay_s() for _ in range(12)]
    means = [min(breaker.FIRST_S * 2**number, breaker.LONGEST_S) for number in range(12)]
    assert all(mean * 0.5 <= delay <= mean * 1.5 for delay, mean in zip(delays, means, strict=True))
    # A PING is no reason to come sooner, and one more failure is enough then.
    times.probe()
    assert not times.is_open
    assert times.failed("x")
    assert times.next_delay_s() >= breaker.LONGEST_S * 0.5
    times.succeeded()
    assert not times.is_open
    assert times.next_delay_s() <= breaker.FIRST_S * 1.5


def test_three_failures_in_a_row_open_the_breaker(connect):
    """A server that answers a PING but no question: not on and on."""
    hostile = Hostile(b"")
    try:
        client = connect(Access(parse_url(f"redis://127.0.0.1:{hostile.port}"), timeout_s=0.1))
        for _ in range(3):
            client.ask(message("a"))
        assert client.log.names[:1] == ["engine down"]
    finally:
        client.close()
        hostile.close()


def test_slots_are_those_of_the_specification():
    """The cluster specification's own example, and hash tags."""
    assert slot_of(b"123456789") == 0x31C3
    assert slot_of(b"{user1000}.following") == slot_of(b"{user1000}.followers") == slot_of(b"user1000")
    assert slot_of(b"foo{}{bar}") != slot_of(b"bar")
    assert slot_of(b"foo{{bar}}zap") == slot_of(b"{bar")


@pytest.mark.parametrize("word", ["CLUSTERDOWN", "LOADING", "MASTERDOWN"])
def test_a_server_that_answers_and_refuses_all_is_down(connect, word):
    """It answers a PING in between. That is logged once, and it is asked ever more seldom."""
    hostile = Hostile(f"-{word} for a while\r\n".encode())
    try:
        client = connect(Access(parse_url(f"redis://127.0.0.1:{hostile.port}"), timeout_s=0.5))
        assert word in str(client.ask(message("a"))[0])
        until(lambda: client.ask(message("b")) and hostile.asked == 3)
        assert client.log.names == ["engine down"]
        hostile.reply = b"*3\r\n:0\r\n:0\r\n:1\r\n"
        until(lambda: not isinstance(client.ask(message("c"))[0], StateError))
        assert client.log.names == ["engine down", "engine up"]
    finally:
        client.close()
        hostile.close()


class Sentinels:
    """A master, its replica and one sentinel that calls it `mail`."""

    def __init__(self, folder):
        self.master = RedisServer(folder / "master", port=free_port())
        self.replica = self.process = None
        try:
            self._start(folder)
        except BaseException:
            self.stop()
            raise

    def _start(self, folder):
        self.replica = RedisServer(folder / "replica", "--replicaof", f"127.0.0.1 {self.master.port}", port=free_port())
        self.port = free_port()
        (folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor mail 127.0.0.1 {self.master.port} 1\nsentinel down-after-milliseconds mail 500\n"
            "sentinel failover-timeout mail 2000\n"
        )
        self.process = subprocess.Popen(
            ["redis-server", str(folder / "sentinel.conf"), "--sentinel"], stdout=subprocess.DEVNULL
        )
        self.access = Access(parse_url(f"redis+sentinel://127.0.0.1:{self.port}/mail"), timeout_s=1.0)

    def knows_replica(self):
        with redis.Redis(port=self.port) as client, contextlib.suppress(redis.RedisError):
            return bool(client.sentinel_slaves("mail"))
        return False

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        if self.replica:
            self.replica.stop()
        self.master.stop()


def test_sentinels_name_the_master_and_the_next_one(tmp_path, connect):
    """It is killed, a replica takes its place: found by itself, nothing counted twice."""
    servers = Sentinels(tmp_path)
    try:
        until(servers.knows_replica)
        client = connect(servers.access)
        until(lambda: not client.is_refused())
        first = client.ask(*[message(f"i{number}") for number in range(5)])
        until(lambda: not isinstance(client.ask(message("i5"))[0], StateError))
        acknowledged = 1 + sum(not isinstance(answer, StateError) for answer in first)
        servers.master.stop()
        until(lambda: not isinstance(client.ask(message("later"))[0], StateError))
        assert used(servers.replica.access()) <= acknowledged + 1
        assert client.log.names[-2:] == ["engine down", "engine up"]
    finally:
        client.close()
        servers.stop()


class ClusterServers:
    """Three masters, each with a replica."""

    def __init__(self, folder):
        self.servers = []
        try:
            self._form(folder)
        except BaseException:
            self.stop()
            raise

    def _form(self, folder):
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-config-file", "nodes.conf"]
        for number in range(6):
            self.servers.append(RedisServer(folder / f"node{number}", *options, port=free_port(BUS)))
        hosts = [f"127.0.0.1:{server.port}" for server in self.servers]
        self.cli("--cluster", "create", *hosts, "--cluster-replicas", "1", "--cluster-yes")
        self.access = Access(parse_url(f"redis+cluster://{hosts[0]},{hosts[1]}"), timeout_s=1.0)
        until(lambda: all(self.is_ready(server) for server in self.servers))

    def cli(self, *arguments):
        subprocess.run(["redis-cli", *arguments], check=True, capture_output=True, timeout=30)

    def is_ready(self, server):
        """Whether it knows the cluster, and has its master's data: no other replica may take a place."""
        with redis.Redis(port=server.port, decode_responses=True) as client:
            role = client.info("replication")
            return client.cluster("info")["cluster_state"] == "ok" and role.get("master_link_status", "up") == "up"

    def owner(self, key):
        """The server that has a key as its master."""
        for server in self.servers:
            with redis.Redis(port=server.port) as client, contextlib.suppress(redis.RedisError):
                if client.info("replication")["role"] == "master" and client.cluster("countkeysinslot", slot_of(key)):
                    return server
        return None

    def stop(self):
        for server in self.servers:
            server.stop()


@pytest.fixture
def cluster(tmp_path):
    servers = ClusterServers(tmp_path)
    yield servers
    servers.stop()


def test_a_cluster_is_asked_where_its_keys_are(cluster, connect):
    """Keys of all nodes; a slot that moves is followed, and a master that dies is replaced by its replica."""
    client = connect(cluster.access)
    keys = [f"k{number}" for number in range(30)]
    for _ in range(2):
        answers = client.ask(*[message(f"m{id(key)}{_}", key) for key in keys])
        assert all(not isinstance(answer, StateError) for answer in answers), answers
    assert [answer.used for answer in answers] == [(1,)] * 30
    # A client that has learnt a wrong place.
    owners = client.store._cluster._owners
    owners[:] = owners[8000:] + owners[:8000]
    answers = client.ask(*[message(f"x{key}", key) for key in keys])
    assert [answer.used for answer in answers] == [(2,)] * 30
    command = client.store._commands.of(message("i", "k1"))
    lost = cluster.owner(command.keys[0])
    lost.stop()
    until(lambda: not isinstance(client.ask(message("later", "k1"))[0], StateError))
    assert {"engine down", "engine up"} <= set(client.log.names)
    until(lambda: client.store.is_up)


def test_a_slot_that_nobody_has_is_a_failure(tmp_path, connect):
    """At once, not when somebody asks for it next."""
    server = RedisServer(tmp_path / "node", "--cluster-enabled", "yes", port=free_port(BUS))
    try:
        with redis.Redis(port=server.port) as admin:
            admin.execute_command("CLUSTER ADDSLOTSRANGE", "0", "8000")
        client = connect(Access(parse_url(f"redis+cluster://127.0.0.1:{server.port}"), timeout_s=1.0))
        keys = {slot_of(client.store._commands.of(message("a", key)).keys[0]): key for key in map(str, range(50))}
        (answer,) = client.ask(message("a", keys[max(keys)]))
        assert "no node of the cluster has the slot" in str(answer)
        (answer,) = client.ask(message("a", keys[min(keys)]))
        assert "CLUSTERDOWN" in str(answer)
    finally:
        server.stop()
