"""The log of `[history]`: one line a decision that says everything about it, in files that name themselves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.measure.processes import descendants, title
from loadtest.servers.pausing import pause
from tests.process.conftest import FINE, FORGED, REJECT, request
from tests.process.waiting import eventually

ID = re.compile("[0-9bcdfghjklmnpqrstvwxyz]{12}")
ASKING = """
table domains domain domains
acl from_us sender table:domains
acl wide client_address 203.0.113.0/24 198.51.100.0/24
acl often rate {client_address} 1/1h
acl in_secret sender /@example/ silent
acl signed_in authenticated
acl either any signed_in wide
acl other any often !signed_in
action prove_it REJECT 5.7.1 see {code}
access from_us either often in_secret !signed_in other prove_it
"""
ALWAYS = ASKING.replace("either often", "wide").replace("signed_in other", "signed_in")


def lines_of(path):
    """Every whole line of a history log."""
    text = path.read_text() if path.exists() else ""
    # The last one may still be on its way.
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def decisions_in(path):
    """Those that are decisions."""
    return [line for line in lines_of(path) if line["event"] == "decision"]


@pytest.fixture
def make_history(make_server):
    """A function that makes a server with a history log; `more` are further lines of its section."""

    def make(policy, more="", **others):
        server = make_server(policy, **others)
        text = server.settings.read_text()
        server.settings.write_text(f'{text}\n[history]\nlog = "history.json"\n{more}\n')
        server.history = server.settings.parent / "history.json"
        server.start()
        return server

    return make


def test_a_decision_says_everything(make_history):
    """The whole request, the entry and the value that met each term with their lines, and what an ACL was answered."""
    server = make_history(ASKING)
    with PolicyClient(server.socket_path) as client:
        asked = request(queue_id="4F2", instance="1.a", helo_name='say "hi"')
        assert client.ask(asked) == "DUNNO"
        reply = client.ask(request(queue_id="4F2", instance="1.b", helo_name='say "hi"'))
    (decision,) = eventually(lambda: decisions_in(server.history))
    policy = server.settings.parent / "policy.conf"
    assert ID.fullmatch(decision["id"])
    assert reply == decision["action"] == f"REJECT 5.7.1 see {decision['id']}"
    assert decision["host"] == socket.gethostname()
    assert decision["request"]["helo_name"] == 'say "hi"'
    assert (decision["request"]["queue_id"], decision["request"]["request"]) == ("4F2", "smtpd_access_policy")
    source = str(server.settings.parent / "domains")
    waits_s = decision["answers"]["often"]["value"]
    often = {"acl": "often", "found": "often", "line": f"{policy}:5", "value": waits_s}
    assert decision["terms"] == [
        {"acl": "from_us", "table": "domains", "entry": "example.com", "source": f"{source}:1"},
        {"acl": "either", "by": {"acl": "wide", "found": "203.0.113.0/24", "line": f"{policy}:4"}},
        often,
        {"acl": "!signed_in"},
        {"acl": "other", "by": often},
    ]
    assert decision["answers"]["often"]["holds"] is True
    assert int(decision["answers"]["often"]["value"]) > 3000
    begin, definition = lines_of(server.history)[:2]
    assert (begin["event"], definition["event"]) == ("file begins", "in force")
    assert ID.fullmatch(begin["file"])
    assert definition["in_force"] == decision["in_force"]
    assert re.fullmatch(r"domains@\w{12}", definition["tables"])


def test_it_is_explained_and_replayed(make_history):
    """`explain` and `replay` read its lines as they are."""
    server = make_history(ASKING.replace("rate {client_address} 1/1h", "encrypted"), 'decisions = "all"')
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == "DUNNO"
    eventually(lambda: len(decisions_in(server.history)) == 1)
    replayed = server.command("replay", str(server.history))
    assert "1 request" in replayed.stdout, replayed
    explained = server.command("explain", str(server.history))
    assert explained.stdout.startswith("action=DUNNO\n")


def test_the_usual_log_stays_as_it_is(make_history):
    """`[log]` has its own decisions, with the same ids, and `decisions` of `[history]` is applied by a reload."""
    server = make_history(ASKING.replace("1/1h", "1000/1h"))
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == "DUNNO"
        text = server.settings.read_text()
        server.settings.write_text(f'{text}decisions = "all"\n')
        assert server.reload().returncode == 0
        assert client.ask(FORGED) == "DUNNO"
    (decision,) = eventually(lambda: decisions_in(server.history))
    assert (decision["action"], decision["line"]) == ("DUNNO", "default")
    assert decision["answers"] == {"often": {"holds": False}}
    assert "terms" not in decision
    assert "event=decision" not in server.log.read_text()


def test_each_new_file_names_itself_and_what_was_in_force(make_history):
    """USR1 opens it again; nothing that was asked before or after is missing."""
    server = make_history(ALWAYS)
    rotated = server.history.with_suffix(".1")
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED).startswith("REJECT")
        eventually(lambda: decisions_in(server.history))
        server.history.rename(rotated)
        server.process.send_signal(signal.SIGUSR1)
        eventually(lambda: "log target reopened" in (server.history.read_text() if server.history.exists() else ""))
        assert client.ask(FORGED).startswith("REJECT")
    (first,), (second,) = decisions_in(rotated), eventually(lambda: decisions_in(server.history))
    begins = [lines_of(path)[0] for path in (rotated, server.history)]
    assert [line["event"] for line in begins] == ["file begins"] * 2
    assert begins[0]["file"] != begins[1]["file"]
    known = [line["in_force"] for line in lines_of(server.history) if line["event"] == "in force"]
    assert known == [second["in_force"]] == [first["in_force"]]


def test_a_file_that_is_renamed_is_followed_by_another(make_history):
    """Without a signal: who reads the log may rotate it, and of a stream of decisions no line is lost."""
    server = make_history(ALWAYS)
    replies = []
    with PolicyClient(server.socket_path) as client:
        for number in range(3):
            server.history.rename(server.history.with_suffix(f".{number}"))
            # At each look one: as many as there is time for were a hundred thousand on a busy machine.
            eventually(lambda: replies.append(client.ask(FORGED)) or is_begun(server))
    files = [*(server.history.with_suffix(f".{number}") for number in range(3)), server.history]
    written = eventually(
        lambda: len(said := [each for path in files for each in decisions_in(path)]) == len(replies) and said
    )
    assert [f"REJECT 5.7.1 see {each['id']}" for each in written] == replies
    assert len({lines_of(path)[0]["file"] for path in files}) == 4


def is_begun(server):
    """Whether something stands in its log."""
    return server.history.exists() and server.history.stat().st_size > 0


def test_a_file_that_is_cut_names_itself_again(make_history):
    """logrotate's copytruncate leaves an empty file, to which the server goes on writing."""
    server = make_history(ALWAYS)
    with PolicyClient(server.socket_path) as client:
        client.ask(FORGED)
        eventually(lambda: decisions_in(server.history))
        before = lines_of(server.history)
        os.truncate(server.history, 0)
        reply = client.ask(FORGED)
    begin, definition, decision = eventually(lambda: len(lines := lines_of(server.history)) == 3 and lines)
    assert [begin["event"], definition["event"]] == ["file begins", "in force"]
    assert begin["file"] != before[0]["file"]
    assert (definition["in_force"], decision["in_force"]) == (before[1]["in_force"],) * 2
    assert reply.endswith(decision["id"])


def test_half_a_line_takes_no_other_with_it(make_history):
    """A server that was stopped on a full disk has left the beginning of one."""
    server = make_history(ALWAYS)
    server.stop()
    with server.history.open("ab") as log:
        log.write(b'{"time":"2026')
    server.start()
    with PolicyClient(server.socket_path) as client:
        reply = client.ask(FORGED)
    *_, torn, definition, decision = eventually(
        lambda: len(lines := server.history.read_text().splitlines()) >= 5 and lines
    )
    assert torn == '{"time":"2026'
    assert json.loads(definition)["event"] == "in force"
    assert reply.endswith(json.loads(decision)["id"])


def test_half_a_line_of_a_logger_that_was_killed_takes_none_with_it(make_history):
    """Whoever writes next begins on a line of its own: another logger, and one that has the file open meanwhile."""
    server = make_history(ALWAYS)
    with PolicyClient(server.socket_path) as client:
        for code in (signal.SIGKILL, 0):
            (logger,) = [pid for pid in server.process_ids() if title(pid) == "history"]
            pause(logger)
            with server.history.open("ab") as log:
                log.write(b'{"time":"2026')
            os.kill(logger, code or signal.SIGCONT)
            reply = client.ask(FORGED)
            eventually(lambda: reply.split()[-1] in server.history.read_text())  # noqa: B023
            assert json.loads(server.history.read_text().splitlines()[-1])["id"] == reply.split()[-1]


def test_the_beginning_of_a_first_line_is_removed(make_server):
    """A full disk has left it to a server that was stopped: a file without its name would never be taken in."""
    server = make_server(ALWAYS)
    server.settings.write_text(f'{server.settings.read_text()}\n[history]\nlog = "history.json"\n')
    history = server.settings.parent / "history.json"
    history.write_bytes(b'{"time":"2026')
    server.start()
    with PolicyClient(server.socket_path) as client:
        client.ask(FORGED)
    begin, *_ = eventually(lambda: len(lines := lines_of(history)) == 3 and lines)
    assert begin["event"] == "file begins"


def test_a_file_that_was_removed_gives_its_space_back(make_history):
    """No process of the server has it open any more, nor the one before, nor after its logger was killed."""
    server = make_history(ALWAYS)

    def removed_files():
        links = []
        for pid in server.process_ids():
            # One that opens the file again ends soon.
            with suppress(FileNotFoundError):
                links += Path(f"/proc/{pid}/fd").iterdir()
        return [name for each in links if "history.json" in (name := link_of(each)) and "deleted" in name]

    for _ in range(2):
        before = server.history.stat().st_ino
        server.history.unlink()
        eventually(lambda: server.history.exists() and server.history.stat().st_ino != before)  # noqa: B023
        eventually(lambda: not removed_files())
    (logger,) = [pid for pid in server.process_ids() if title(pid) == "history"]
    os.kill(logger, signal.SIGKILL)
    with PolicyClient(server.socket_path) as client:
        reply = client.ask(FORGED)
    eventually(lambda: reply.split()[-1] in server.history.read_text())
    assert not removed_files()


def link_of(path):
    """Where a descriptor leads; empty when it has been closed."""
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return ""


def test_its_logger_may_be_killed(make_history):
    """Another one writes what has waited in the pipe meanwhile, and the usual log says so."""
    server = make_history(ALWAYS)
    (logger,) = [pid for pid in server.process_ids() if title(pid) == "history"]
    with PolicyClient(server.socket_path) as client:
        pause(logger)
        replies = [client.ask(FORGED) for _ in range(50)]
        os.kill(logger, signal.SIGKILL)
        eventually(lambda: len(decisions_in(server.history)) == 50)
    assert [f"REJECT 5.7.1 see {each['id']}" for each in decisions_in(server.history)] == replies
    assert 'event="logger replaced" process=master' in eventually(lambda: "replaced" in server.said() and server.said())
    assert len([line for line in lines_of(server.history) if line["event"] == "file begins"]) == 1


def test_a_path_that_cannot_be_written_is_named(make_server):
    """`check` and the start say which setting it is."""
    server = make_server()
    text = server.settings.read_text()
    server.settings.write_text(f'{text}\n[history]\nlog = "nowhere/history.json"\n')
    checked = server.command("check")
    assert checked.returncode == 1
    assert "log: the directory" in checked.stdout + checked.stderr
    assert "does not exist: create it" in checked.stdout + checked.stderr


def test_a_refused_forgery_is_the_usual_reply(make_history):
    """With a history the founding case is answered as without it."""
    server = make_history(ALWAYS.replace("see {code}", "authenticate first"))
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
        assert client.ask(FINE) == "DUNNO"


def test_an_upgrade_goes_on_with_the_log(make_history):
    """USR2, a rename and the end of the new master's logger: each decision is there once."""
    server = make_history(ALWAYS)
    rotated = server.history.with_suffix(".1")
    try:
        with PolicyClient(server.socket_path) as client:
            replies = [client.ask(FORGED)]
            old = server.status()["pid"]
            os.kill(old, signal.SIGUSR2)
            server.process.wait(20)
            replies += [client.ask(FORGED) for _ in range(20)]
            new = eventually(lambda: (pid := server.status()["pid"]) != old and pid)
            server.history.rename(rotated)
            eventually(lambda: server.history.exists() and b"file begins" in server.history.read_bytes())
            (logger,) = [pid for pid in descendants(new) if title(pid) == "history"]
            os.kill(logger, signal.SIGKILL)
            replies += [client.ask(FORGED) for _ in range(20)]
        eventually(lambda: len(decisions_in(rotated) + decisions_in(server.history)) == len(replies))
        written = [*decisions_in(rotated), *decisions_in(server.history)]
        assert sorted(f"REJECT 5.7.1 see {each['id']}" for each in written) == sorted(replies)
    finally:
        server.process = None
        server.command("stop")
