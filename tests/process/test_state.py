"""What the policy remembers, in real servers: counted once by all workers, kept over restarts and a loss of power, and
answered by the others when one process dies or stands still.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from forkpolicy.state.lock_holder import lock_holder
from loadtest.clients.policy_client import LostReplyError, PolicyClient
from loadtest.errors import SetupError
from loadtest.measure.processes import descendants
from loadtest.servers.pausing import pause
from tests.process.conftest import alive, request
from tests.process.waiting import ended, eventually

SLOW = "DEFER_IF_PERMIT 4.7.1 slow down"
COUNTING = """
acl busy rate {sender} 5/1h
action slow DEFER_IF_PERMIT 4.7.1 slow down
access busy slow
"""
EVERYTHING = COUNTING.replace("5/1h", "1000000000/1h")
FORGETFUL = """
acl never sender nobody@nowhere.example
action slow DEFER_IF_PERMIT 4.7.1 slow down
access never slow
"""


@pytest.fixture
def remembering(make_server):
    """A running server with two workers that lets five messages of a sender pass."""
    server = make_server(COUNTING, workers=2)
    server.start()
    yield server
    if server.process is None or server.process.poll() is not None:
        server.process = None
        server.command("stop")


def message(number, sender="a@example.com"):
    """The first request about another message."""
    return request(sender, instance=f"{number:x}.1")


def passed(server, numbers, sender="a@example.com"):
    """How many messages pass."""
    with PolicyClient(server.socket_path) as client:
        return sum(client.ask(message(number, sender)) != SLOW for number in numbers)


def processes(server, title):
    """The pids of a server's processes with such a title."""
    found = {}
    for pid in descendants(server.status()["pid"]):
        with contextlib.suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
    return [pid for pid, name in found.items() if name.startswith(title)]


def saved(server):
    """Wait until everything that was remembered before is on disk."""
    # A worker reports within half a second, and the state process saves once a second: the second save has it all.
    for _ in range(2):
        before = server.status()["state"]["figures"]["saved_ns"]
        eventually(lambda: server.status()["state"]["figures"]["saved_ns"] > before + 10**9)  # noqa: B023 - called now


def test_workers_count_together_and_a_restart_forgets_nothing(remembering):
    """Whichever worker is asked; the live map outlives the server."""
    server = remembering
    assert [passed(server, [number]) for number in range(7)] == [1, 1, 1, 1, 1, 0, 0]
    server.stop()
    server.start()
    assert passed(server, [8]) == 0
    assert passed(server, range(9, 12), "b@example.com") == 3


def test_rules_fill_lists_and_are_counted(make_server):
    """`remember` and `forget` act in a worker, their rules have hits, and the worker goes on when they are counted."""
    server = make_server(
        "acl trap recipient trap@example.com\nacl sorry recipient sorry@example.com\nacl bad listed traps {sender}\n"
        "action put remember traps {sender} 1h\naction free forget traps {sender}\naction no REJECT listed\n"
        "access trap put\naccess sorry free\naccess bad no\n",
        workers=1,
    )
    server.start()
    with PolicyClient(server.socket_path) as client:
        asked = ("b@example.com", "trap@example.com", "b@example.com", "sorry@example.com", "b@example.com")
        replies = [client.ask(request("a@example.com", recipient=to)) for to in asked]
        assert replies == ["DUNNO", "REJECT listed", "REJECT listed", "DUNNO", "DUNNO"]
        eventually(lambda: [line["hits"] for line in server.status()["lines"]] == [1, 1, 2, 3, 0])
        (worker,) = server.status()["workers"]
        assert (worker["actions"]["remember"], worker["actions"]["forget"]) == (1, 1)
        assert client.ask(request("a@example.com")) == "DUNNO"


def test_status_says_what_is_remembered(remembering):
    """In JSON, in words and as metrics: sizes, age and questions, and no key of any record."""
    server = remembering
    passed(server, range(7))
    saved(server)
    status = eventually(lambda: (seen := server.status())["asked"]["answered"] and seen)
    assert sum(status["asked"]["answered"].values()) == 7
    assert {name.split()[0] for name in status["asked"]["answered"]} == {"rate"}
    assert status["state"]["up"]
    assert status["state"]["figures"]["entries"] >= 1
    assert status["state"]["save_age_s"] < 3
    assert "a@example.com" not in json.dumps(status)
    text = server.command("status").stdout
    assert f"state    {server.directory}/live" in text
    assert " of 16 MiB" in text


@pytest.mark.parametrize("lost", ["the power", "the directory and the master"])
def test_a_loss_of_power_forgets_two_seconds_at_most(remembering, lost):
    """Everything is killed and the live map is gone: what was saved is there again."""
    server = remembering
    assert passed(server, range(4)) == 4
    saved(server)
    pids = descendants(server.process.pid)
    if lost == "the power":
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    server.kill()
    for pid in pids:
        ended(pid)
    shutil.rmtree(server.directory / "live")
    server.start()
    assert passed(server, range(10, 13)) == 1
    assert "restored=" in server.said()


def test_what_came_last_is_saved_at_the_end(remembering):
    """A stop writes it, also the records of the last half second."""
    server = remembering
    assert passed(server, range(5)) == 5
    server.stop()
    shutil.rmtree(server.directory / "live")
    server.start()
    assert passed(server, [9]) == 0


def test_workers_go_on_while_the_state_process_is_away(remembering):
    """It is started again, and finds what was reported to the one that died."""
    server = remembering
    (state,) = processes(server, "forkpolicy: state")
    pause(state)
    assert passed(server, range(5)) == 5
    os.kill(state, signal.SIGKILL)
    assert passed(server, [6]) == 0
    (again,) = eventually(lambda: processes(server, "forkpolicy: state"))
    assert again != state
    eventually(lambda: server.status()["state"]["up"])
    saved(server)
    server.kill()
    ended(again)
    shutil.rmtree(server.directory / "live")
    server.start()
    assert passed(server, [9]) == 0


def test_a_second_master_on_the_maps_refuses_to_start(remembering, make_server):
    """And says whose they are; the first one is not disturbed."""
    other = make_server(COUNTING, name="other")
    text = other.settings.read_text().replace('live = "live"', f'live = "{remembering.directory}/live"')
    other.settings.write_text(text)
    with pytest.raises(SetupError, match=rf"used by process {remembering.process.pid}, which serves .*server/forkp"):
        other.start()
    assert passed(remembering, range(7)) == 5


def test_no_room_ends_the_start(make_server):
    """With the exit status of a file that cannot be written, and how many bytes are missing."""
    server = make_server(COUNTING)
    server.settings.write_text(server.settings.read_text().replace('"16M"', '"1T"'))
    done = server.command("serve")
    assert done.returncode == 73
    assert "bytes" in done.stderr
    assert "max_size" in done.stderr
    assert "Traceback" not in done.stderr
    assert "bytes are missing" in server.command("check", "--postfix", "none").stdout


def test_an_upgrade_counts_on(remembering):
    """Both masters' workers use one live map; the new state process writes when the old one has gone."""
    server = remembering
    assert passed(server, range(3)) == 3
    old = server.status()["pid"]
    (old_state,) = processes(server, "forkpolicy: state")
    os.kill(old, signal.SIGUSR2)
    eventually(lambda: server.status()["pid"] != old)
    assert passed(server, range(3, 7)) == 2
    assert server.process.wait(30) == 0
    ended(old_state)
    server.process = None
    saved(server)
    new = server.status()["pid"]
    pids = [new, *descendants(new)]
    server.command("stop")
    for pid in pids:
        ended(pid)
    shutil.rmtree(server.directory / "live")
    server.start()
    assert passed(server, [9]) == 0


def test_a_reload_begins_and_ends_it(make_server):
    """The first ACL that remembers brings the state process, the last one takes it; what was counted stays."""
    server = make_server(FORGETFUL, workers=2)
    server.start()
    assert "state" not in server.status()
    assert not (server.directory / "live").exists()
    server.write_policy(COUNTING)
    assert server.reload().returncode == 0
    assert passed(server, range(7)) == 5
    server.write_policy(FORGETFUL)
    assert server.reload().returncode == 0
    assert passed(server, range(3)) == 3
    eventually(lambda: not processes(server, "forkpolicy: state"))
    server.write_policy(COUNTING)
    assert server.reload().returncode == 0
    assert passed(server, [9]) == 0
    server.settings.write_text(server.settings.read_text().replace('live = "live"', 'live = "elsewhere"'))
    done = server.reload()
    assert "state.live has changed: it takes effect with a restart" in done.stdout + done.stderr
    assert passed(server, [10]) == 0


def test_a_reload_that_cannot_keep_anything_is_refused(make_server):
    """The old policy goes on."""
    server = make_server(FORGETFUL)
    server.settings.write_text(server.settings.read_text().replace('"16M"', '"1T"'))
    server.start()
    server.write_policy(COUNTING)
    done = server.reload()
    assert done.returncode == 1
    assert "what the policy remembers cannot be kept" in done.stderr
    assert passed(server, range(7)) == 7
    assert not processes(server, "forkpolicy: state")


def test_the_control_socket_changes_what_is_remembered(remembering):
    """Through the state process: tools write no map."""
    server = remembering
    passed(server, range(7))
    passed(server, range(7), "b@example.com")
    assert server.obey("state-reset", name="busy", key=["a@example.com"])["changed"] >= 1
    assert passed(server, [9]) == 1
    assert passed(server, [9], "b@example.com") == 0
    assert server.obey("state-forget", name="banned", key=["192.0.2.1"]) == {"ok": True, "changed": 0}
    assert server.obey("state-remember", name="banned", key=["192.0.2.1"], duration_s=60)["changed"] == 1
    assert server.obey("state-forget", name="banned", key=["192.0.2.1"])["changed"] == 1
    assert not server.obey("state-reset")["ok"]


def test_the_command_shows_and_changes_it(remembering):
    """`forkpolicy state` beside the running server: a limit is shown and lifted, a list is filled and emptied."""
    server = remembering
    passed(server, range(7))
    shown = server.command("state", "list").stdout
    assert " ".join(shown.split()).startswith("rate busy a@example.com 5 in 1h (messages), ends in ")
    assert server.command("state", "show", "busy", "A@example.com").stdout.startswith("rate ")
    assert server.command("state", "reset", "busy", "A@example.com").returncode == 0
    assert passed(server, [9]) == 1
    assert server.command("state", "remember", "bans", "192.0.2.1", "1h").returncode == 0
    assert "192.0.2.1" in server.command("state", "list", "listed").stdout
    assert server.command("state", "forget", "bans", "192.0.2.1").returncode == 0
    again = server.command("state", "forget", "bans", "192.0.2.1")
    assert (again.returncode, again.stdout) == (1, "192.0.2.1 is not in bans\n")
    server.stop()
    assert server.command("state", "list").returncode == 0
    assert server.command("state", "reset", "busy").returncode == 69


def test_a_removed_live_map_is_made_again(remembering):
    """An operator's `rm -r` costs what was not saved yet; workers change to the new map by themselves."""
    server = remembering
    assert passed(server, range(5)) == 5
    saved(server)
    shutil.rmtree(server.directory / "live")
    eventually((server.directory / "live" / "boot").exists)
    assert "the live map was removed" in eventually(lambda: "map was removed" in server.said() and server.said())
    eventually(lambda: server.status()["state"]["up"])
    assert passed(server, [6]) == 0
    numbers = itertools.count(10)

    def all_use_it():
        # Forgotten in the new map alone.
        server.obey("state-reset", name="busy")
        return [passed(server, [next(numbers)]) for _ in range(5)] == [1] * 5

    eventually(all_use_it)


def test_nothing_that_was_saved_is_forgotten_under_load(make_server):
    """A loss of power in traffic: each sender that was answered two seconds before the last save is known, though more
    keys change in a beat than the socket to the state process takes at once.
    """
    # 16M are full after 34,465 senders, which a fast machine asks about in five seconds.
    server = make_server(COUNTING.replace("5/1h", "1/1h"), workers=2, map_size="256M")
    server.start()
    answered = {}
    until_s = time.monotonic() + 5
    with PolicyClient(server.socket_path) as client:
        while time.monotonic() < until_s:
            for number in range(len(answered), len(answered) + 200):
                client.ask(message(0, f"{number}@example.com"))
                answered[number] = time.monotonic()
            saved_s = server.obey("status")["state"]["figures"]["saved_ns"] / 1e9
    pids = descendants(server.process.pid)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    server.kill()
    for pid in pids:
        ended(pid)
    shutil.rmtree(server.directory / "live")
    server.start()
    must_be_known = [number for number, at_s in answered.items() if at_s < saved_s - 2]
    assert len(must_be_known) > 200
    with PolicyClient(server.socket_path) as client:
        forgotten = [each for each in must_be_known if client.ask(message(1, f"{each}@example.com")) != SLOW]
    assert forgotten == []


def ask_until_answered(server, asked):
    """The action; as Postfix, the same request again on a new connection where the first was closed."""
    while True:
        with contextlib.suppress(OSError, LostReplyError), PolicyClient(server.socket_path) as client:
            return client.ask(asked)


def test_a_limit_is_exact_whatever_happens_to_the_workers(make_server):
    """Four workers, a reload, more and fewer workers, and three that are killed: a request that was counted and not
    answered finds itself when it comes again.
    """
    limit, connections, each = 3000, 8, 700
    server = make_server(COUNTING.replace("5/1h", f"{limit}/1h"), workers=4)
    server.start()
    counts = []

    def ask(number):
        counts.append(sum(ask_until_answered(server, message(number * each + index)) != SLOW for index in range(each)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for words in (("reload",), ("scale", "6"), ("scale", "3")):
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        assert server.command(*words).returncode == 0
    for thread in threads:
        thread.join(60)
    assert len(counts) == connections
    assert sum(counts) == limit


class Traffic:
    """Questions to every worker, one after another on each connection, until it is ended."""

    def __init__(self, server, connections=6):
        self._server = server
        self._ends = threading.Event()
        self.longest_s = 0.0
        self.answers = 0
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(connections)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, number):
        asked = 0
        while not self._ends.is_set():
            with contextlib.suppress(OSError, LostReplyError), PolicyClient(self._server.socket_path) as client:
                while not self._ends.is_set():
                    asked += 1
                    client.ask(message(asked, f"{number}@example.com"))
                    self.answers += 1


def stopped_inside(server):
    """Stop a worker inside a transaction, whose lock file shows that it is: its pid."""
    live = server.directory / "live"
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        for pid in processes(server, "forkpolicy: worker"):
            for _ in range(200):
                pause(pid)
                if lock_holder(live) == pid:
                    return pid
                os.kill(pid, signal.SIGCONT)
    raise AssertionError("no worker was met inside a transaction")


@pytest.mark.alone
def test_the_master_kills_a_worker_that_stops_inside_a_question(make_server):
    """Within two seconds; all others live, and answer again."""
    server = make_server(EVERYTHING, workers=3)
    server.start()
    with Traffic(server) as traffic:
        pid = stopped_inside(server)
        others = {each for each in descendants(server.process.pid) if each != pid}
        began_s = time.monotonic()
        ended(pid, 5)
        assert time.monotonic() - began_s < 2.5
        answers = traffic.answers
        eventually(lambda: traffic.answers > answers + 100)
        assert all(alive(each) for each in others)
    assert "lock of the state held too long" in eventually(lambda: "held too long" in server.said() and server.said())


@pytest.mark.alone
def test_a_worker_killed_inside_a_question_is_nobodys_trouble(make_server):
    """The others answer at once, and nothing half done is seen."""
    server = make_server(EVERYTHING, workers=3)
    server.start()
    waited_s = []
    with Traffic(server) as traffic:
        for _ in range(3):
            pid = stopped_inside(server)
            os.kill(pid, signal.SIGKILL)
            began_s, answers = time.monotonic(), traffic.answers
            eventually(lambda: traffic.answers > answers, 5)  # noqa: B023 - called now
            waited_s.append(time.monotonic() - began_s)
            ended(pid)
            eventually(lambda: traffic.answers > answers + 100, 5)  # noqa: B023 - called now
    # On a busy machine one of them may take longer.
    assert min(waited_s) < 0.1
    assert "state failed" not in server.said()
    assert "held too long" not in server.said()
