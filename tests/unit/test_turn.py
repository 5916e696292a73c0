"""The turn of a connection, in C and in Python: what is not usual, what is counted, and that nothing is kept."""

from __future__ import annotations

import gc
import random
import shutil
import socket
import subprocess
import sys
import sysconfig
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest

from forkpolicy.worker.counters import LINEAR_BUCKETS, Counters
from forkpolicy.worker.implementation import C
from forkpolicy.worker.turn import MAX_READ_BYTES
from tests.turns import REQUESTS, Decider, DecisionError, Scene, mutated

NAMES = ("request", "protocol_state", "sender")


def raw_request(sender="a@example.com"):
    return f"request=smtpd_access_policy\nprotocol_state=RCPT\nsender={sender}\n\n".encode()


@pytest.fixture
def scene(implementation):
    scene = Scene(implementation)
    scene.turn.learn(implementation.layout(NAMES, ("sender", "size")))
    yield scene
    scene.hang_up()


def test_where_a_compiler_is_the_turn_in_c_runs():
    """So no run of the tests leaves it out without saying so."""
    if not (shutil.which("cc") and (Path(sysconfig.get_path("include")) / "Python.h").exists()):
        pytest.skip("no C compiler, or no headers of Python: apt-get install gcc python3-dev")
    assert C is not None


@pytest.mark.parametrize(("pure", "runs"), [("1", "python"), ("0", "c"), ("", "c")])
def test_the_environment_picks_python(pure, runs):
    """FORKPOLICY_PURE=1, and nothing else."""
    code = "from forkpolicy.worker.implementation import CHOSEN; print(CHOSEN.name)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"FORKPOLICY_PURE": pure}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (runs if C else "python")


def test_nothing_to_read_is_nothing(scene):
    """Neither a request nor an end."""
    assert scene.ask(b"") == (b"", [], [], [], [0] * 4, 0, 0, 0)


def test_a_plain_reply_is_sent_and_counted(scene):
    """By the values of the learnt layout, whose order is the policy's."""
    assert scene.ask(raw_request("abcd")) == (b"action=DUNNO\n\n", [], [], [("abcd", "")], [1, 0, 0, 0], 1, 1, 1)


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_client_that_has_gone_ends_the_connection(scene, how):
    """Once it is noticed: by an end, or by a reset because it did not read a reply."""
    if how == "reset":
        scene.client.send(raw_request("abcd"))
        scene.turn.readable()
    scene.client.close()
    scene.turn.readable()
    assert scene.notes == [("close",)]


def test_a_client_that_has_gone_gets_no_reply(scene):
    """That is noticed when it is sent; the decision counts."""
    scene.client.send(raw_request("abcd"))
    scene.client.close()
    scene.turn.readable()
    assert scene.notes == [("close",)]
    assert scene.decider.outcomes[0].hits == 1


def test_what_the_socket_does_not_take_goes_to_the_connection(scene):
    """Some of a reply or all of it, and not a byte twice."""
    scene.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    long = bytes(range(256)) * 10_000
    scene.turn.send(long)
    ((_, rest),) = scene.notes
    scene.turn.send(b"more")
    assert scene.notes[1:] == [("send later", b"more")]
    received = b""
    scene.client.setblocking(True)
    while len(received) < len(long) - len(rest):
        received += scene.client.recv(65536)
    assert received + rest == long


def test_an_error_of_decide_leaves_the_turn(scene):
    """The loop logs it; the next request is decided as ever."""
    scene.client.send(raw_request("x" * 18))
    with pytest.raises(DecisionError):
        scene.turn.readable()
    assert scene.ask(raw_request("abcd"))[0] == b"action=DUNNO\n\n"


@pytest.mark.parametrize("part", ["decide", "layouts_epoch", "noted"])
def test_an_engine_without_a_part_is_an_error(scene, part):
    """And no crash."""
    if part in vars(scene.decider):
        delattr(scene.decider, part)
    else:
        scene.decider.decide = None
    scene.client.send(raw_request("abcd"))
    with pytest.raises((AttributeError, TypeError)):
        scene.turn.readable()


def test_a_close_while_it_finishes_is_no_trouble(scene):
    """The connection may end the turn in whatever it is asked."""
    scene.close = lambda: (scene.notes.append(("close",)), scene.turn.end(), scene.sock.close())
    scene.client.send(raw_request("abcdef"))
    scene.client.close()
    scene.turn.readable()
    assert [note[0] for note in scene.notes] == ["finish", "close"]
    with pytest.raises(AttributeError):
        scene.turn.readable()


def test_more_than_is_read_at_once_is_read_later(implementation):
    """At most `read_bytes`."""
    scene = Scene(implementation, read_bytes=10)
    pieces = [raw_request()[at : at + 10] for at in range(0, len(raw_request()), 10)]
    assert scene.ask(raw_request())[2] == [("read exactly", piece, int) for piece in pieces]
    scene.hang_up()


@pytest.mark.skipif(C is None, reason="no C compiler")
@pytest.mark.parametrize(
    "make",
    [
        lambda scene: scene.turn.learn("layout"),
        lambda scene: scene.turn.send("text"),
        lambda scene: scene.turn.count(scene.decider.outcomes[0]),
        lambda scene: scene.turn.count(object(), 0),
        lambda scene: scene.implementation.turn(scene.sock, MAX_READ_BYTES + 1, scene.decider, scene),
        lambda scene: scene.implementation.turn(scene.sock, 0, scene.decider, scene),
        lambda scene: scene.implementation.turn("socket", 1, scene.decider, scene),
        lambda scene: scene.implementation.turn(scene.sock, 1, object(), scene),
        lambda scene: scene.implementation.layout(("request",) * 65, ("size",)),
        lambda scene: scene.implementation.layout(("request", "size"), ("size",)).values("text"),
        lambda scene: type(scene.implementation.layout(("size",), ("size",)))((b"x",), (1,), ("",)),
        lambda scene: type(scene.implementation.layout(("size",), ("size",)))((b"x",), ("",), ("",)),
        lambda scene: type(scene.implementation.layout(("size",), ("size",)))(("x",), (0,), ("",)),
        lambda scene: type(scene.implementation.layout(("size",), ("size",)))((b"x",), (), ("",)),
    ],
)
def test_what_is_passed_by_mistake_is_an_error_in_c(make):
    """Of Python, which our code never sees; a crash would be worse."""
    scene = Scene(C)
    with pytest.raises((TypeError, ValueError, AttributeError)):
        make(scene)
    scene.hang_up()


def test_counters_of_another_length_are_refused_in_c():
    """The cells are written without a look at their bounds."""
    if C is None:
        pytest.skip("no C compiler")
    scene = Scene(C)
    scene.decider.counters = SimpleNamespace(cells=Counters().cells[1:])
    with pytest.raises(ValueError, match="bytes of counters"):
        C.turn(scene.sock, 1, scene.decider, scene)
    scene.hang_up()


@pytest.mark.parametrize(("took_ns", "bucket"), [(0, 0), (1023, 0), (1024, 1), (5000, 4), (1_048_575, 1023)])
def test_times_are_counted(took_ns, bucket):
    """In steps of 1.024 us up to a millisecond, and taken once."""
    counters = Counters()
    counters.add(took_ns)
    counters.add(took_ns)
    assert (counters.requests, counters.busy_ns, counters.slow_ns) == (2, 2 * took_ns, [])
    assert counters.take_linear_us() == [(bucket, 2)]
    assert counters.take_linear_us() == []
    assert bucket < LINEAR_BUCKETS


def test_long_times_are_counted_as_they_are():
    """From 1,048,576 ns on."""
    counters = Counters()
    counters.add(1_048_576)
    assert (counters.busy_ns, counters.slow_ns) == (1_048_576, [1_048_576])
    assert counters.take_linear_us() == []


def test_the_turn_counts_as_the_counters_do(scene):
    """Short and long: the same cells whichever of the two counts."""
    for elapsed_ns in (0, 50_000, 5_000_000):
        scene.turn.count(scene.decider.outcomes[0], scene.turn.last_used_ns - elapsed_ns)
    counters = scene.decider.counters
    assert counters.requests == scene.turn.requests == scene.decider.outcomes[0].hits == 3
    assert counters.busy_ns >= 5_050_000
    assert sum(count for _, count in counters.take_linear_us()) + len(counters.slow_ns) == 3
    assert max(counters.slow_ns) >= 5_000_000


def test_no_request_leaves_memory_behind(implementation):
    """Usual ones, those that are passed on, errors, ends: after twenty thousand there is as much memory as before."""
    scene, chance = Scene(implementation), random.Random(1)
    layout = implementation.layout(NAMES, ("sender", "size"))
    raws = [raw_request("x" * length) for length in range(30)] + [mutated(each, chance) for each in REQUESTS[:20]]

    def ask_all(times):
        for _ in range(times):
            for raw in raws:
                scene.turn.learn(layout)
                scene.ask(raw)
                if scene.notes and scene.notes[-1][0] == "close":
                    scene.connect()
            with pytest.raises(TypeError):
                scene.turn.send("text")
            scene.connect()
        scene.notes.clear()
        scene.decider.seen.clear()
        gc.collect()
        return sys.getallocatedblocks(), sys.getrefcount(layout), sys.getrefcount(scene.decider), sys.getrefcount(scene)

    before = ask_all(40)
    after = ask_all(400)
    assert after[1:] == before[1:]
    assert after[0] - before[0] < 200
    scene.hang_up()


def test_a_turn_in_a_cycle_is_collected(implementation):
    """A connection and its turn know each other; where nobody ends them, the collector frees both."""

    class Connection:
        """Knows its turn, as a real one does."""

    ours, theirs = socket.socketpair()
    connection = Connection()
    connection.turn = implementation.turn(theirs, 10, Decider(), connection)
    gone = weakref.ref(connection)
    del connection
    gc.collect()
    assert gone() is None
    ours.close()
    theirs.close()
