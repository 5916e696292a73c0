"""From a refused mail to its reason: a server, the ingester next to it, and the commands that ask."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from loadtest.clients.policy_client import PolicyClient
from tests.history_logs import decision
from tests.process.conftest import FINE, FORGED, request
from tests.process.waiting import eventually

POLICY = """
table domains domain domains
acl from_us sender table:domains
acl to_us recipient table:domains
acl signed_in authenticated
action prove_it REJECT 5.7.1 see {code}
access from_us to_us !signed_in prove_it
"""


@pytest.fixture
def server(make_server):
    """A server with a history."""
    server = make_server(POLICY)
    text = server.settings.read_text()
    server.settings.write_text(f'{text}\n[history]\nlog = "history.json"\npath = "history"\ndecisions = "all"\n')
    server.start()
    return server


def history(server, *words):
    """What `forkpolicy history` says."""
    return server.command("history", *words)


def test_why_was_it_refused(server):
    """The reply that the other side quotes leads to the rule, the entry and its line, in two commands."""
    with PolicyClient(server.socket_path) as client:
        reply = client.ask(request("a@example.com", "b@example.com", queue_id="", client_name="x.example.net"))
        assert client.ask(FINE) == "DUNNO"
    code = re.fullmatch(r"REJECT 5\.7\.1 see (\w{12})", reply)[1]
    eventually(lambda: (server.directory / "history.json").read_text().count('"event":"decision"') == 2)
    assert history(server, "ingest", "--once").returncode == 0
    bounce = f"The mail system\n<b@example.com>: host mx.example.com said: 554 5.7.1 see {code} (in reply to RCPT TO)"
    found = history(server, "find", bounce)
    assert found.returncode == 0
    assert f"  {code}  REJECT  203.0.113.5  a@example.com -> b@example.com  " in found.stdout
    shown = history(server, "show", code)
    assert f"from_us: example.com ({server.directory}/domains:1, table domains)" in shown.stdout
    assert "client_name=x.example.net" in shown.stdout
    assert shown.stdout.endswith("the policy that is in the files now replies: the same\n")
    assert history(server, "show", bounce.upper()).stdout == shown.stdout
    (server.directory / "policy.conf").write_text(POLICY.replace("access from_us", "acl off stress\naccess off"))
    assert "the policy that is in the files now replies: DUNNO" in history(server, "show", code).stdout


def test_the_ingester_goes_on_until_it_is_stopped(server):
    """Each decision is found soon after it was made; TERM ends it with what is there taken in."""
    words = [sys.executable, "-m", "forkpolicy", "history", "ingest", "-c", str(server.settings)]
    ingester = subprocess.Popen(words, stderr=subprocess.PIPE)
    try:
        with PolicyClient(server.socket_path) as client:
            for number in range(3):
                client.ask(request(f"{number}@example.com"))
                eventually(lambda: history(server, "find", f"from:{number}@example.com").returncode == 0)  # noqa: B023
            client.ask(request("last@example.com"))
        eventually(lambda: "last@" in (server.directory / "history.json").read_text())
        ingester.send_signal(signal.SIGTERM)
        assert ingester.communicate(timeout=10)[1] == b""
        assert ingester.returncode == 0
    finally:
        ingester.kill()
        ingester.communicate()
    assert history(server, "find", "from:last@example.com").returncode == 0


def test_a_backlog_does_not_delay_a_stop(server):
    """It ends within seconds, at a commit: what is left is taken in by the next one."""
    log = server.directory / "history.json"
    server.stop()
    with log.open("ab") as file:
        for _ in range(120):
            file.write(b"".join(decision() for _ in range(1000)))
    words = [sys.executable, "-m", "forkpolicy", "history", "ingest", "-c", str(server.settings)]
    ingester = subprocess.Popen(words, stderr=subprocess.PIPE)
    try:
        eventually(lambda: history(server, "find", "to:b@example.com", "--most", "1").returncode == 0)
        ingester.send_signal(signal.SIGTERM)
        asked_s = time.monotonic()
        assert ingester.communicate(timeout=30)[1] == b""
        assert time.monotonic() - asked_s < 10
    finally:
        ingester.kill()
        ingester.communicate()
    with closing(sqlite3.connect(server.directory / "history" / "ingest.sqlite")) as positions:
        (taken,) = positions.execute("SELECT offset FROM positions").fetchone()
    assert 0 < taken < log.stat().st_size


def test_find_prints_for_people_and_for_tools(server):
    """The same fields as JSON and CSV; nothing found is 1."""
    with PolicyClient(server.socket_path) as client:
        client.ask(request('"a\x1b[2J"@example.com', "b@example.com", sasl_username="=joe;@x"))
        client.ask(FORGED)
    eventually(lambda: (server.directory / "history.json").read_text().count('"event":"decision"') == 2)
    history(server, "ingest", "--once")
    plain, as_json, as_csv = (
        history(server, "find", *more, "to:b@example.com") for more in ((), ("--json",), ("--csv",))
    )
    assert "\x1b" not in plain.stdout + as_csv.stdout
    objects = [json.loads(line) for line in as_json.stdout.splitlines()]
    rows = list(csv.DictReader(io.StringIO(as_csv.stdout)))
    assert [each["id"] for each in objects] == [each["id"] for each in rows]
    assert [each["login"] for each in objects] == [None, "=joe;@x"]
    assert rows[1]["login"] == "'=joe;'@x"
    assert objects[0]["rule"].endswith("policy.conf:7")
    assert history(server, "find", "to:nobody@example.com").returncode == 1
    assert history(server, "show", "000000000000").returncode == 1


def test_mistakes_are_named(make_server):
    """Without a log, without a directory, with a word that is none."""
    server = make_server(POLICY)
    assert "[history] log names no file" in history(server, "ingest").stderr
    assert history(server, "ingest").returncode == 2
    text = server.settings.read_text()
    server.settings.write_text(f'{text}\n[history]\nlog = "history.json"\npath = "history"\n')
    missing = history(server, "find", "a@example.com")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "history cannot be read: no such file or directory" in missing.stderr
    (server.directory / "history").write_text("")
    assert history(server, "ingest", "--once").returncode == 73
    (server.directory / "history").unlink()
    assert history(server, "ingest", "--once").returncode == 0
    assert history(server, "find", "nonsense").returncode == 2
    assert history(server, "show", "nonsense").returncode == 2


def test_the_group_may_read_whatever_the_umask(server):
    """A unit's UMask=0077 must not take it away, nor a wide one give it to everybody."""
    with PolicyClient(server.socket_path) as client:
        client.ask(FORGED)
    eventually(lambda: '"event":"decision"' in (server.directory / "history.json").read_text())
    words = [sys.executable, "-m", "forkpolicy", "history", "ingest", "--once", "-c", str(server.settings)]
    subprocess.run(words, check=True, umask=0o077)
    directory = server.directory / "history"
    found = {(each.is_dir(), each.stat().st_mode & 0o777) for each in (directory, *directory.rglob("*"))}
    assert found == {(True, 0o750), (False, 0o640)}


def test_a_cut_line_is_found_and_shown(server):
    """Of fifty terms none is kept, of a request with more than a line can take what it is known by; both say so."""
    terms = "\n".join(f"acl x{number} sender /@example[.]com{number}|@example/" for number in range(50))
    line = f"access {' '.join(f'x{number}' for number in range(50))} prove_it"
    policy = server.directory / "policy.conf"
    policy.write_text(f"{POLICY}\n{terms}\nacl wide recipient /elsewhere/\naccess wide prove_it\n{line}\n")
    assert server.reload().returncode == 0
    wide = "\U00010400" * 300
    many = dict.fromkeys(("helo_name", "client_name", "ccert_subject", "ccert_issuer", "sasl_sender"), wide)
    with PolicyClient(server.socket_path) as client:
        by_terms = client.ask(request("a@example.org", sasl_username="joe")).split()[-1]
        by_request = client.ask(request(wide, f"{wide}@elsewhere.example", queue_id="4F2", **many)).split()[-1]
    eventually(lambda: (server.directory / "history.json").read_text().count('"event":"decision"') == 2)
    assert history(server, "ingest", "--once").stderr == ""
    assert by_terms in history(server, "find", "from:a@example.org", "login:joe").stdout
    assert by_request in history(server, "find", "queue:4F2").stdout
    shown = history(server, "show", by_terms).stdout
    assert "; values at 1000; terms left out\n" in shown
    assert "  sasl_username=joe\n" in shown
    shown = history(server, "show", by_request).stdout
    assert "; line too long\n" in shown
    assert shown.endswith("(not all of the request was kept)\n")


def test_what_an_answer_would_change_is_named(make_server):
    """`show` asks no store: an ACL answers as it did, unless it was changed. An alternative names what met it."""
    server = make_server(
        POLICY.replace(
            "access", "acl often rate {client_address} 1/1h\nacl one any signed_in often\naccess from_us one"
        )
    )
    text = server.settings.read_text()
    server.settings.write_text(f'{text}\n[history]\nlog = "history.json"\npath = "history"\n')
    server.start()
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == "DUNNO"
        code = client.ask(FORGED).split()[-1]
    eventually(lambda: '"event":"decision"' in (server.directory / "history.json").read_text())
    history(server, "ingest", "--once")
    shown = history(server, "show", code).stdout
    assert "  one: by often: often = " in shown
    assert shown.endswith("now replies: the same (often answered as then)\n")
    policy = server.directory / "policy.conf"
    policy.write_text(policy.read_text().replace("1/1h", "2/1h"))
    shown = history(server, "show", code).stdout
    asked = "now replies: DUNNO by default (often not asked: what it remembers or asks may change this)\n"
    assert shown.endswith(f"{asked}  acl often: holds then and not asked now (no answer was recorded)\n")
    (server.directory / "compiled" / "domains.lmdb").write_bytes(b"no table")
    shown = history(server, "show", code).stdout
    assert re.search(r"now replies: DEFER_IF_PERMIT .* \(on_error: acl \w+: .*domains.lmdb is damaged", shown)


def test_bytes_that_are_no_text_are_what_they_were(server):
    """In what is printed as it can be pasted again, and for the policy of today."""
    with PolicyClient(server.socket_path) as client:
        code = client.ask(request("Q@example.com").replace(b"Q@", b"\xff@")).split()[-1]
    eventually(lambda: '"event":"decision"' in (server.directory / "history.json").read_text())
    history(server, "ingest", "--once")
    found = history(server, "find", "from:\\xff@example.com").stdout
    assert f"  {code}  REJECT  203.0.113.5  \\xff@example.com -> b@example.com  " in found
    assert history(server, "show", code).stdout.endswith("now replies: the same\n")


def test_one_writer_fills_a_directory(server):
    """A second one says so and leaves everything as it is."""
    words = [sys.executable, "-m", "forkpolicy", "history", "ingest", "-c", str(server.settings)]
    ingester = subprocess.Popen(words, stderr=subprocess.PIPE)
    try:
        eventually((server.directory / "history" / "ingest.sqlite").exists)
        second = history(server, "ingest", "--once")
        assert (second.returncode, "another forkpolicy history ingest" in second.stderr) == (1, True)
    finally:
        ingester.kill()
        ingester.communicate()
    assert history(server, "ingest", "--once").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
@pytest.mark.parametrize("size", ["100k", "300k"], ids=["no-room-for-a-day", "no-room-for-all"])
def test_a_full_disk_loses_nothing(server, size):
    """It is said once, and what the log has is taken in when there is room."""
    directory = server.directory / "history"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    words = [sys.executable, "-m", "forkpolicy", "history", "ingest", "-c", str(server.settings)]
    ingester = None

    def logged():
        return (server.directory / "history.json").read_text().count('"event":"decision"')

    try:
        with PolicyClient(server.socket_path) as client:
            for number in range(2000):
                client.ask(request(f"{number}@example.com", helo_name=os.urandom(150).hex()))
                # The logger's pipe takes a thousand of them, should it come too late on a busy machine.
                if number % 500 == 499:
                    eventually(lambda: logged() > number)  # noqa: B023
        ingester = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert "not taken in, tried again each second" in ingester.stderr.readline()
        subprocess.run(["mount", "-o", "remount,size=50m", directory], check=True)
        eventually(lambda: history(server, "find", "from:1999@example.com").returncode == 0)
        ingester.send_signal(signal.SIGTERM)
        ingester.communicate(timeout=10)
        found = history(server, "find", "to:b@example.com", "--most", "5000", "--json").stdout.splitlines()
        senders = {json.loads(line)["sender"] for line in found}
        assert (len(found), len(senders)) == (2000, 2000)
    finally:
        if ingester:
            ingester.kill()
            ingester.communicate()
        subprocess.run(["umount", directory], check=True)


@pytest.fixture
def asked(server):
    """A server that has decided about anna twice and once about another; the last of anna's is only in the log."""
    with PolicyClient(server.socket_path) as client:
        client.ask(request("anna@example.com", "b@example.com"))
        client.ask(request("c@example.com", "b@example.com", sasl_username="carl"))
        eventually(lambda: (server.directory / "history.json").read_text().count('"event":"decision"') == 2)
        assert history(server, "ingest", "--once").returncode == 0
        client.ask(request("c@example.com", "Anna@example.com"))
        eventually(lambda: (server.directory / "history.json").read_text().count('"event":"decision"') == 3)
    return server


def test_a_person_gets_everything_and_is_forgotten(asked):
    """What was taken in and what was not; the ingester that runs goes on, and others are found."""
    words = [sys.executable, "-m", "forkpolicy", "history", "ingest", "-c", str(asked.settings)]
    exported = history(asked, "export", "ANNA@example.com", "--json")
    objects = [json.loads(line) for line in exported.stdout.splitlines()]
    assert sorted(each["copy"] == "log" for each in objects) == [False, True]
    assert {each["decision"]["request"]["sender"] for each in objects} == {"anna@example.com", "c@example.com"}
    assert "Postfix's log: " in exported.stderr
    assert history(asked, "export", "anna@example.com").stdout.count('"event":"decision"') == 2
    unsure = history(asked, "forget", "anna@example.com")
    assert (
        unsure.returncode,
        "forget what is kept about anna@example.com (decisions: 2): add --yes" in unsure.stderr,
    ) == (2, True)
    ingester = subprocess.Popen(words, stderr=subprocess.PIPE)
    try:
        eventually(lambda: history(asked, "find", "to:anna@example.com").returncode == 0)
        forgotten = history(asked, "forget", "anna@example.com", "--yes")
        assert (forgotten.returncode, forgotten.stderr.count("backups")) == (0, 1), forgotten
        assert forgotten.stdout == "decisions of anna@example.com that were forgotten: 2\n"
        with PolicyClient(asked.socket_path) as client:
            client.ask(request("late@example.com"))
        eventually(lambda: history(asked, "find", "from:late@example.com").returncode == 0)
        ingester.send_signal(signal.SIGTERM)
        assert ingester.communicate(timeout=10)[1] == b""
    finally:
        ingester.kill()
        ingester.communicate()
    assert history(asked, "export", "anna@example.com").returncode == 1
    assert "login carl" in history(asked, "find", "c@example.com").stdout
    kept = [*(asked.directory / "history").iterdir(), asked.directory / "history.json"]
    assert not [path.name for path in kept if path.is_file() and b"anna@example.com" in path.read_bytes().lower()]
    again = history(asked, "forget", "anna@example.com", "--yes")
    assert (again.returncode, again.stdout) == (0, "decisions of anna@example.com that were forgotten: 0\n")


def test_mistakes_about_a_person_are_named(asked):
    """Before anything is looked at."""
    for command in ("export", "forget"):
        refused = history(asked, command, "anna")
        assert (refused.returncode, '"anna" is not a whole address' in refused.stderr) == (2, True)


def test_a_whole_domain_is_exported(asked):
    """Everybody's."""
    assert history(asked, "export", "@example.com").stdout.count("\n") == 3
