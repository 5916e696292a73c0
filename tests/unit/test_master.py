"""The master's decisions, without processes: back-off, reload in two steps, messages, what it tells systemd."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from forkpolicy import link
from forkpolicy.control_client import ask, look, wait_for_end
from forkpolicy.errors import CannotWriteError, ConfigError, ForkpolicyError, NotRunningError
from forkpolicy.master import deadlines, workers
from forkpolicy.master.good_tables import GoodTables
from forkpolicy.master.processes.backoff import LONGEST_DELAY_S, Backoff
from forkpolicy.master.processes.helper_process import HelperProcess
from forkpolicy.master.processes.helpers import Helpers
from forkpolicy.master.processes.logger import Logger
from forkpolicy.master.processes.spawn import MAX_FDS, Worker
from forkpolicy.master.processes.targets import StderrTarget
from forkpolicy.master.sockets import listener
from forkpolicy.master.sockets.inet import open_inet
from forkpolicy.master.stopping import Stopper
from forkpolicy.master.supervisor import Master
from forkpolicy.master.two_phase_commit import PHASE_TIMEOUT_S, STARTING_S, TwoPhaseCommit
from forkpolicy.master.workers import MAX_LAST_READS, WorkerProgram, Workers
from forkpolicy.messages import Ready, Retiring, ServedTable
from forkpolicy.notify import Notifier
from forkpolicy.scoreboard import MAX_WORKERS, Scoreboard
from forkpolicy.settings import Settings
from forkpolicy.status import STATUS_VERSION, WorkerState


def test_back_off_grows_to_a_limit_and_ends_with_a_life():
    """Half a second, doubled with each death at birth, half a minute at most; a life sets it back."""
    backoff = Backoff()
    delays = [backoff.failed_start(100.0) for _ in range(9)]
    assert delays == [0.5, 1, 2, 4, 8, 16, LONGEST_DELAY_S, LONGEST_DELAY_S, LONGEST_DELAY_S]
    assert backoff.wait_s(110.0) == 20.0
    backoff.served()
    assert backoff.wait_s(110.0) == 0.0
    assert backoff.failed_start(0.0) == 0.5


def test_the_log_says_stopping_when_all_know():
    """Who reads so may rely on it: the queue is closed, and no worker accepts what waits in one that is not ours."""
    done = []
    sockets = SimpleNamespace(activated=False, listeners=[SimpleNamespace(refuse=lambda: done.append("refuse"))])
    stopper = Stopper(
        sockets,
        type("Fake", (list,), {"stop_all": lambda _, drain: done.append(f"stop drain={drain}")})(),
        SimpleNamespace(event=lambda _level, event, **_fields: done.append(event)),
        SimpleNamespace(stopping=lambda: done.append("notify")),
    )
    stopper.begin(replaced=False)
    assert done == ["refuse", "stop drain=True", "stopping", "notify"]


def test_a_logger_that_cannot_be_started_is_started_later(monkeypatch):
    """A fork that fails when the logger has died ends no master, and the next turn tries again."""
    logger = Logger(StderrTarget(), "logfmt", "a log")
    logger.pid = 77
    told = []
    log = SimpleNamespace(event=lambda _level, event, **fields: told.append((event, fields["reason"])))
    helpers = Helpers([logger], None, None, log)

    def no_fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", no_fork)
    helpers.on_exit(77, 9, stopping=False)
    assert (logger.pid, told) == (0, [])
    logger.reopen()
    monkeypatch.setattr(os, "fork", lambda: 78)
    helpers.keep(0.0, lambda _sock: None)
    assert (logger.pid, told) == (78, [("logger replaced", "it could not be started at once")])
    for each in (logger._opened, logger._opening):
        each.close()
    for fd in (logger._read_end, *logger.pipe.fds, logger.losses.at_target.fd):
        os.close(fd)


def test_a_companion_that_returns_is_not_started_again():
    """It has reported why it cannot work; one that fails is started again, later and later while it fails at once."""
    helper = HelperProcess("a helper", lambda: None, lambda _trace: None)
    delays = []
    for _ in range(8):
        helper.pid = 7
        helper._not_before_s = 1000.0 + helper._delay_s
        assert helper.on_exit(256, 1000.1)
        delays.append(helper._delay_s)
        assert not helper.is_due(1000.1)
        assert helper.is_due(10000.0)
    assert delays == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]
    assert helper.on_exit(256, 99999.0)
    assert helper._delay_s == 5.0
    assert not helper.on_exit(0, 99999.0)
    assert not helper.is_due(1e9)


def test_a_companion_that_fails_says_why():
    """The traceback goes to the log and the status is not that of one that has returned."""
    read_end, write_end = os.pipe()

    def tell(trace):
        os.write(write_end, trace.encode())

    helper = HelperProcess("a helper", lambda: int("no number"), tell, (write_end,))
    helper.start(0.0)
    _, status = os.waitpid(helper.pid, 0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        assert "ValueError: invalid literal" in pipe.read()
    assert os.waitstatus_to_exitcode(status) == 1


def test_a_birth_that_the_machine_refuses_is_tried_every_second(monkeypatch):
    """Descriptors that were out for a minute keep nobody waiting for half of one when they are back."""
    settings = SimpleNamespace(server=SimpleNamespace(workers=1))
    generation = SimpleNamespace(settings=settings, loaded=None, number=1, tables=GoodTables())
    told = []
    log = SimpleNamespace(event=lambda _level, event, **fields: told.append((event, fields["next_try_s"])))
    born = Workers(generation, WorkerProgram(lambda *_: None, ()), None, log, None)

    def no_descriptors(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(workers, "spawn", no_descriptors)
    for _ in range(9):
        born.backoff.not_before_s = 0.0
        born.keep()
    assert told == [("worker not started", 0.5), *[("worker not started", 1.0)] * 8]


def workers_of(count, told):
    """Workers without processes: `spawn` is to be replaced."""
    settings = SimpleNamespace(server=SimpleNamespace(workers=count, hang_timeout=30.0))
    generation = SimpleNamespace(settings=settings, loaded=None, number=1, tables=GoodTables())
    log = SimpleNamespace(event=lambda _level, event, **fields: told.append((event, fields.get("reason"))))
    loop = SimpleNamespace(register=lambda *_: None, watch_writable=lambda _worker: None)
    return Workers(generation, WorkerProgram(lambda *_: None, ()), loop, log, Scoreboard())


class Silent(Worker):
    """A worker that lives and does nothing; `heard` are its orders."""

    def __init__(self, slot):
        nothing = SimpleNamespace(fileno=lambda: 0, text=lambda _now_s: "")
        super().__init__(1000 + slot, slot, 1, nothing, nothing)
        self.heard = []

    def send(self, message):
        self.heard.append(type(message).__name__)


def test_without_a_free_slot_nobody_is_born_and_the_master_goes_on(monkeypatch):
    """Where as many workers leave as there is room for; when one of them has gone, a birth is tried again."""
    told, births = [], []
    full = workers_of(2, told)
    monkeypatch.setattr(workers, "spawn", lambda slot, *_, **__: births.append(slot) or Silent(slot))
    for slot in range(MAX_WORKERS):
        worker = Silent(slot)
        worker.mark_ending()
        full.alive[worker.pid] = worker
    full.keep()
    assert told == [("worker not started", f"there are {MAX_WORKERS} workers, most of which are ending")]
    del full.alive[1007]
    full.backoff.not_before_s = 0.0
    full.keep()
    assert births == [7]


@pytest.mark.parametrize(
    ("leaving", "after_s", "hurried"),
    [
        (1, deadlines.ENDING_S - 1, 0),
        (1, deadlines.ENDING_S + 1, 1),
        (deadlines.MANY_ENDING, deadlines.ENDING_OF_MANY_S + 1, 0),
        (deadlines.MANY_ENDING + 3, deadlines.ENDING_OF_MANY_S - 1, 0),
        (deadlines.MANY_ENDING + 3, deadlines.ENDING_OF_MANY_S + 1, 3),
    ],
)
def test_leaving_takes_its_time_unless_too_many_do(leaving, after_s, hurried):
    """As long as Postfix waits; with many of them the oldest must hurry soon. Each gets that message once."""
    some = workers_of(1, [])
    stays, *leave = [Silent(slot) for slot in range(leaving + 1)]
    some.alive = {worker.pid: worker for worker in (stays, *leave)}
    for worker in leave:
        some.retire(worker)
        worker.ending_since_s -= after_s
    # Of equals it does not matter who is the oldest: here the last ones are, by a little.
    for age, worker in enumerate(leave):
        worker.ending_since_s -= age / 1000
    for _ in range(2):
        some.tick(time.monotonic(), slept=True)
    assert [worker.heard.count("Hurry") for worker in leave] == [0] * (leaving - hurried) + [1] * hurried
    assert stays.heard == []


def test_a_slow_start_is_no_hanging():
    """Where the first beat comes after the report that it serves, a worker is not killed for the time of its start."""
    told = []
    some = workers_of(1, told)
    worker = Silent(0)
    worker.started_s -= 40
    some.alive = {worker.pid: worker}
    now_s = time.monotonic()
    some.deadlines.kill_the_hung([worker], now_s, slept=False)
    worker.mark_ready()
    some.deadlines.kill_the_hung([worker], now_s + 29, slept=False)
    assert (worker.kill_at_s, told) == (None, [])
    some.deadlines.kill_the_hung([worker], now_s + 31, slept=False)
    assert told == [("worker hangs", None)]


class Two:
    """A reload of two workers; what was sent to whom."""

    def __init__(self):
        self.sent = []
        loaded = SimpleNamespace(snapshot={"policy.conf": b"access all x\n"})
        self.pids = [11, 12]
        self.reload = TwoPhaseCommit(
            loaded, 2, lambda: self.pids, lambda pid, message: self.sent.append((type(message).__name__, pid)), 0.0
        )

    def kinds(self):
        return [kind for kind, _ in self.sent]


def test_commit_comes_when_all_are_prepared():
    """Nobody serves the new one before everybody can."""
    two = Two()
    two.reload.prepared(11, [], 1.0)
    assert two.kinds() == ["Prepare"] * 2
    two.reload.prepared(12, [], 1.0)
    assert two.kinds() == ["Prepare"] * 2 + ["Commit"] * 2
    two.reload.committed(12, 1.0)
    assert two.reload.outcome is None
    two.reload.committed(11, 1.0)
    assert two.reload.outcome == []


def test_one_diagnostic_is_everybodys_abort():
    """The same diagnostic of several workers is reported once."""
    two = Two()
    two.reload.prepared(11, ["missing table"], 1.0)
    two.reload.prepared(12, ["missing table"], 1.0)
    assert two.kinds() == ["Prepare"] * 2 + ["Abort"] * 2
    assert two.reload.outcome == ["missing table"]


def test_a_death_in_between_is_not_waited_for():
    """In either phase."""
    two = Two()
    two.reload.exited(11, 1.0)
    two.reload.prepared(12, [], 1.0)
    assert two.sent[-1] == ("Commit", 12)
    two.reload.exited(12, 1.0)
    assert two.reload.outcome == []


def test_who_is_born_in_between_prepares_like_the_others():
    """Nobody serves the new one before everybody can, also who came while the others prepared."""
    two = Two()
    two.reload.prepared(11, [], 1.0)
    two.pids.append(13)
    two.reload.prepared(12, [], 1.0)
    assert two.sent[2:] == [("Prepare", 13)]
    two.reload.prepared(13, [], 1.0)
    assert sorted(two.sent[3:]) == [("Commit", 11), ("Commit", 12), ("Commit", 13)]


def test_silence_for_too_long_is_a_refusal():
    """With the pid of who is silent."""
    two = Two()
    two.reload.prepared(11, [], 1.0)
    two.reload.late(PHASE_TIMEOUT_S - 1)
    assert two.reload.outcome is None
    two.reload.late(PHASE_TIMEOUT_S)
    assert "worker 12 did not answer" in two.reload.outcome[0]
    assert two.kinds()[-2:] == ["Abort", "Abort"]


def test_a_worker_that_is_stuck_at_its_start_holds_no_reload():
    """It is killed ten seconds after the last other one has prepared, unless one of those awaited is ready."""
    two = Two()
    assert not two.reload.starts_are_late(STARTING_S)
    two.reload.prepared(11, [], 1.0)
    assert not two.reload.starts_are_late(STARTING_S)
    assert two.reload.starts_are_late(1.0 + STARTING_S)
    assert two.reload.waiting_for == {12}
    told = []
    some = workers_of(2, told)
    starting, ready = Silent(0), Silent(1)
    ready.mark_ready()
    some.alive = {worker.pid: worker for worker in (starting, ready)}
    some.end_late_starts({starting.pid, ready.pid})
    assert starting.kill_at_s is None
    some.end_late_starts({starting.pid})
    assert starting.kill_at_s is not None
    assert ready.kill_at_s is None
    assert told == [("worker hangs", None)]


def test_systemd_is_told(tmp_path, monkeypatch):
    """READY with the main pid, RELOADING with the monotonic time, STOPPING, WATCHDOG in half its time."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        notifier = Notifier()
        for tell, words in (
            (lambda: notifier.ready("2 workers"), ["READY=1", "STATUS=2 workers", f"MAINPID={os.getpid()}"]),
            (notifier.reloading, ["RELOADING=1", "MONOTONIC_USEC="]),
            (notifier.stopping, ["STOPPING=1"]),
            (lambda: notifier.watchdog(100.0), ["WATCHDOG=1"]),
            (lambda: notifier.replaced_by(77), ["MAINPID=77", "WATCHDOG=1"]),
        ):
            tell()
            said = manager.recv(4096).decode()
            assert all(word in said for word in words)


def test_nobody_to_tell_is_no_trouble(monkeypatch, tmp_path):
    """Without systemd, and with a socket that is gone."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready("alone")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    Notifier().ready("alone")


def test_a_socket_file_has_its_mode_from_the_first_moment(tmp_path):
    """Mode as asked whatever the umask; and it is removed at the end."""
    path = tmp_path / "socket"
    before = os.umask(0o777)
    try:
        opened = listener.open_unix(str(path), listener.Ownership(0o640), 8)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["socket"]
    opened.close(remove=True)
    assert not path.exists()


def test_a_socket_is_listened_on_from_the_first_moment(tmp_path, monkeypatch):
    """A master that finds it refusing treats it as stale: of two masters that start at once, both would serve."""
    path, replace, connected = tmp_path / "socket", os.replace, []

    def replace_and_connect(*names, **directories):
        replace(*names, **directories)
        with socket.socket(socket.AF_UNIX) as second:
            connected.append(second.connect_ex(str(path)))

    monkeypatch.setattr(os, "replace", replace_and_connect)
    listener.open_unix(str(path), listener.Ownership(0o640), 8).close(remove=True)
    assert connected == [0]


def test_what_is_no_socket_is_left_alone(tmp_path):
    """A file in the way is the operator's to move."""
    path = tmp_path / "socket"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is not a socket"):
        listener.open_unix(str(path), listener.Ownership(0o600), 8)
    assert path.read_text() == "mine"


def test_a_missing_directory_is_told(tmp_path):
    """As a file that cannot be written."""
    with pytest.raises(CannotWriteError, match="No such file or directory"):
        listener.open_unix(str(tmp_path / "no" / "socket"), listener.Ownership(0o600), 8)


def test_a_port_in_use_is_told():
    """With the endpoint of the settings."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CannotWriteError, match="in use"):
            open_inet(f"inet:127.0.0.1:{taken.getsockname()[1]}", 8, [])


def test_a_socket_that_was_passed_is_not_bound_again():
    """The address says which one it is; it is no longer among those that are given up."""
    (first,) = open_inet("inet:127.0.0.1:0", 8, [])
    inherited = [first]
    assert open_inet(first.endpoint, 8, inherited) == [first]
    assert inherited == []
    first.close(remove=False)


def test_a_descriptor_of_tcp_has_the_name_that_the_settings_give_it():
    """Brackets around an IPv6 address: what is passed and what is wanted are compared by it."""
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error.strerror}")
        sock.listen()
        adopted = listener.adopt(os.dup(sock.fileno()))
        assert adopted.endpoint == f"inet:[::1]:{sock.getsockname()[1]}"
        adopted.close(remove=False)


def test_what_a_worker_passes_stays_here():
    """A descriptor comes with its message, no program that is started inherits it, and nothing of it is left open."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    worker = Worker(1, 0, 1, ours, SimpleNamespace())
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Path("/proc/self/status").open() as file:
        socket.send_fds(theirs, [link.encode(ServedTable("a"))], [file.fileno()])
        socket.send_fds(theirs, [link.encode(ServedTable("b"))], [file.fileno()])
    assert worker.receive() == [ServedTable("a")]
    fd = worker.take_fd()
    assert not os.get_inheritable(fd)
    assert Path(f"/proc/self/fd/{fd}").readlink().name == "status"
    assert worker.take_fd() is None
    assert worker.receive() == [ServedTable("b")]
    os.close(fd)
    worker.close()
    theirs.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 2


def test_descriptors_without_messages_are_refused():
    """A worker that was captured cannot use up the master's; what it has passed is closed with its link."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    worker = Worker(1, 0, 1, ours, SimpleNamespace())
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Path("/proc/self/status").open() as file:
        for _ in range(20):
            socket.send_fds(theirs, [link.encode(Retiring("age"))], [file.fileno()])
    for _ in range(MAX_FDS):
        assert worker.receive() == [Retiring("age")]
    with pytest.raises(link.InvalidMessageError, match="descriptors without a message"):
        worker.receive()
    worker.close()
    theirs.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 2


def test_all_last_words_of_a_worker_are_heard():
    """Its farewell stands behind messages that pass descriptors, which come one a look: who retired has not died."""
    ready = Ready(WorkerState())
    heard, events = [], []
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stderr = SimpleNamespace(fileno=lambda: -1, text=lambda _now_s: "")
    worker = Worker(1, 0, 1, ours, stderr)

    def handle_message(said, message):
        heard.append(message)
        if isinstance(message, Retiring):
            said.mark_ending()

    workers = Workers(
        SimpleNamespace(settings=Settings()),
        None,
        SimpleNamespace(unregister=lambda _each: None),
        SimpleNamespace(event=lambda _level, event, **_fields: events.append(event)),
        SimpleNamespace(slot=lambda _number: {}),
    )
    workers.listen(handle_message, lambda _worker: None)
    workers.alive[1] = worker
    with Path("/proc/self/status").open() as file:
        for name in ("a", "b"):
            socket.send_fds(theirs, [link.encode(ServedTable(name))], [file.fileno()])
    theirs.sendall(link.encode(ready) + link.encode(Retiring("age")))
    theirs.close()
    assert workers.on_exit(1, 0)
    assert (heard, events) == ([ServedTable("a"), ServedTable("b"), ready, Retiring("age")], ["worker ended"])


@pytest.mark.parametrize(("command", "answered"), [("status", True), ("reload", False)])
def test_a_status_that_an_upgrade_interrupts_is_asked_again(tmp_path, command, answered):
    """The master that is replaced hangs up, the next one answers: what changes nothing is asked once more."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve():
            listening.accept()[0].close()
            if answered:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b'{"ok": true}\n')

        masters = threading.Thread(target=serve)
        masters.start()
        if answered:
            assert ask(str(path), {"command": command}, 10) == {"ok": True}
        else:
            with pytest.raises(NotRunningError, match="the master closed the connection: it is ending"):
                ask(str(path), {"command": command}, 10)
        masters.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"ok": True, "pid": 7, "generation": 1}, "another release is running (an earlier one, master 7)"),
        (
            {"version": "9.9", "pid": 7, "status_version": STATUS_VERSION + 1},
            "another release is running (9.9, master 7)",
        ),
    ],
)
def test_the_status_of_another_release_is_reported_as_that(monkeypatch, answer, said):
    """The program was replaced and the server was not: no KeyError, but what runs and what to do."""
    monkeypatch.setattr("forkpolicy.control_client.ask", lambda *_: answer)
    with pytest.raises(ForkpolicyError, match=re.escape(said)) as refused:
        look("control", 1)
    assert "restart" in str(refused.value)


def test_a_reload_that_an_upgrade_refuses_ends_for_systemd():
    """After HUP it waits for RELOADING and then READY (notify-reload of systemd 253); READY alone it does not hear."""
    said = []
    notifier = SimpleNamespace(reloading=lambda: said.append("RELOADING"))
    reloader = SimpleNamespace(refuse=lambda reasons: said.append(*reasons))
    upgrader = SimpleNamespace(under_way=True)
    master = SimpleNamespace(
        takeover=SimpleNamespace(old_master_hands_over=False),
        started=True,
        notifier=notifier,
        reloader=reloader,
        upgrader=upgrader,
    )
    Master.reload(master)
    assert said == ["RELOADING", "an upgrade is under way: reload when it is done"]


@pytest.mark.parametrize("said", [b"a" * 200_000, b"[" * 100_000 + b"\n", b"[1]\n", b"\xff\x1b[2J\n", b'"ok"\n'])
def test_what_no_master_says_is_reported_in_one_line(tmp_path, monkeypatch, said):
    """An answer without end is read up to a limit, and nothing of it reaches the terminal as it came."""
    monkeypatch.setattr("forkpolicy.control_client.MAX_ANSWER_BYTES", 100_000)
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer():
            with listener.accept()[0] as client, contextlib.suppress(ConnectionError):
                client.recv(4096)
                client.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(NotRunningError, match=r"not a forkpolicy master: it says b.{1,80}$"):
            ask(path, {"command": "status"}, 30)
        thread.join()


@pytest.mark.parametrize("accepts", [True, False], ids=["accepts", "full queue"])
def test_a_mute_master_is_not_waited_for_long(tmp_path, accepts):
    """`stop`, which waits for the end, first waits as long as any command for an answer, and says what may be."""
    path = str(tmp_path / "control")
    with contextlib.ExitStack() as after, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        if not accepts:
            after.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        with pytest.raises(NotRunningError, match=r"does not answer within 0\.2 s: it is busy, or was stopped"):
            wait_for_end(path, {"command": "stop"}, 0.2, 60.0)


def test_a_stop_that_is_refused_is_not_waited_for(tmp_path):
    """A member of control_group reads why at once, and not after a minute that the master is stopping."""
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer():
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(b'{"ok": false, "error": "stop: for the owner"}\n')
                client.recv(4096)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ForkpolicyError, match=r"control: stop: for the owner$"):
            wait_for_end(path, {"command": "stop"}, 30.0, 30.0)
        thread.join()


def test_an_answer_brings_no_escape_sequence_to_a_terminal(tmp_path):
    """What a captured worker, or a file's name, has in it is shown as an escape; line ends stay."""
    path = str(tmp_path / "control")
    said = {"diagnostics": ["a\x1b[2Jb\nc"], "tables": {"x\x07": {"refused": "\udcff\x9b"}}, "ok": False, "count": 3}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer():
            with listener.accept()[0] as client:
                client.recv(4096)
                client.sendall(json.dumps(said).encode() + b"\n")

        thread = threading.Thread(target=answer)
        thread.start()
        shown = {
            "diagnostics": ["a\\x1b[2Jb\nc"],
            "tables": {"x\\x07": {"refused": "\\udcff\\x9b"}},
            "ok": False,
            "count": 3,
        }
        assert ask(path, {"command": "status"}, 30) == shown
        thread.join()


def test_the_last_words_of_a_worker_have_an_end():
    """Children that a captured worker has left may write for ever: the master reads so much of it and goes on."""
    workers = Workers.__new__(Workers)
    reads = Counter()
    stderr = SimpleNamespace(fileno=lambda: 5, pending=True, close=lambda: None)
    sock = SimpleNamespace(fileno=lambda: 6)
    worker = SimpleNamespace(stderr=stderr, sock=sock, has_data=lambda: True, close=lambda: None)
    workers._loop = SimpleNamespace(unregister=lambda _what: None)
    workers._log_stderr = lambda *_: None
    workers._read_stderr = lambda _worker: reads.update(["stderr"])
    workers._handle_messages = lambda _worker: reads.update(["messages"]) or True
    workers._unregister(worker)
    assert reads == {"stderr": MAX_LAST_READS, "messages": MAX_LAST_READS}


def test_a_worker_prepares_once():
    """What it sends again, or unasked, is not counted, and long lists of diagnostics cost what they hold."""
    sent = []
    loaded = SimpleNamespace(snapshot={})
    commit = TwoPhaseCommit(loaded, 2, lambda: [1, 2], lambda pid, _message: sent.append(pid), 0.0)
    many = [str(number) for number in range(60_000)]
    began_s = time.process_time()
    for _ in range(3):
        commit.prepared(1, many, 1.0)
    commit.prepared(3, ["of nobody"], 1.0)
    commit.committed(2, 1.0)
    assert time.process_time() - began_s < 2
    assert commit.waiting_for == {2}
    commit.prepared(2, ["another", "0"], 2.0)
    assert commit.outcome == [*many, "another"]
