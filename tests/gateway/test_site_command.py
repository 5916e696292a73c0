"""`make gateway` on a terminal: what it starts and says, the backend that a signal stops, and that nothing stays."""

from __future__ import annotations

import contextlib
import http.cookiejar
import json
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from loadtest.clients.smtp import SmtpClient
from loadtest.servers import rspamd
from loadtest.servers.postfix import missing
from tests.process.waiting import eventually

pytest.importorskip("starlette", reason="the console needs forkpolicy[console]")
pytestmark = [
    pytest.mark.skipif(bool(missing() or rspamd.missing()), reason=missing() or rspamd.missing() or "both are there"),
    pytest.mark.timeout(400),  # the first start of rspamd
]
CHECKOUT = Path(__file__).parents[2]
START_S, DEADLINE_S = 300, 60


class Terminal:
    """The command on a terminal of its own; `said` so far."""

    def __init__(self):
        self._terminal, child = pty.openpty()
        os.set_blocking(self._terminal, False)
        command = [sys.executable, "-m", "loadtest", "site"]
        self.process = subprocess.Popen(
            command, cwd=CHECKOUT, stdin=child, stdout=child, stderr=child, start_new_session=True
        )
        os.close(child)
        self._said = b""

    @property
    def said(self):
        with contextlib.suppress(BlockingIOError, OSError):
            while piece := os.read(self._terminal, 1 << 16):
                self._said += piece
        return self._said.decode(errors="replace").replace("\r\n", "\n")

    def end(self, number=signal.SIGINT):
        """As Ctrl-C does; its status."""
        self.process.send_signal(number)
        status = self.process.wait(DEADLINE_S)
        self.close()
        return status

    def close(self):
        """The terminal."""
        os.close(self._terminal)


@pytest.fixture(scope="module")
def terminal():
    """One that stays."""
    running = Terminal()
    try:
        eventually(lambda: "Ctrl-C ends all of it." in running.said or running.process.poll() is not None, START_S)
        yield running
    finally:
        if running.process.poll() is None:
            running.end()


def send(port, sender):
    """A mail to alice; the last reply."""
    with SmtpClient(port, timeout_s=60) as session:
        session.ehlo()
        session.xclient("203.0.113.9", name="mail.example.org")
        session.ehlo()
        session.mail(sender)
        session.rcpt("alice@example.com")
        return session.data(f"From: <{sender}>\r\nSubject: {sender}\r\n\r\nx\r\n").code


def delivered(said, sender):
    """Whether alice has a mail of a sender."""
    mailboxes = Path(re.search(r"delivered mail: (\S+)", said)[1])
    return any(sender in each.read_text() for each in (mailboxes / "example.com" / "alice" / "new").glob("*"))


def test_its_own_mails_are_decided_as_they_must_be(terminal):
    """Accepted, refused by the founding rule, held."""
    assert "a plain mail: 250" in terminal.said
    assert re.search(r"mail from outside .*: 554 .*Authentication required", terminal.said)
    assert "spam: 250" in terminal.said
    assert terminal.process.poll() is None


class Person:
    """A browser without scripts, of somebody who has opened a one-time link and chosen a password."""

    def __init__(self, link):
        # Browsers send a cookie that wants TLS to this machine itself without.
        policy = http.cookiejar.DefaultCookiePolicy(secure_protocols=("http", "https"))
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar(policy))
        self._opener = urllib.request.build_opener(cookies)
        self._origin = link.partition("/first/")[0]
        with self._opener.open(link) as answer:
            page = answer.read().decode()
        names = re.findall(r'<input [^>]*name="(\w+)"[^>]*type="password"', page)
        assert names
        form = dict.fromkeys(names, "correct horse battery")
        form |= dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
        data = urllib.parse.urlencode(form).encode()
        self._opener.open(urllib.request.Request(link, data, {"Origin": self._origin})).close()

    def get(self, address, accept="text/html"):
        """A page as text."""
        with self._opener.open(urllib.request.Request(self._origin + address, headers={"Accept": accept})) as answer:
            return answer.read().decode()


@pytest.fixture(scope="module")
def people(terminal):
    """Everybody who got a link."""
    found = re.findall(r"^    (\w+) +(http://127\.0\.0\.1:\d+/first/\S+)$", terminal.said, re.MULTILINE)
    return {name: Person(link) for name, link in found}


def test_people_and_the_administrator_get_a_link_to_the_console(people):
    """Who has chosen a password sees the own held mail, and nobody else's."""
    assert set(people) == {"alice", "bob", "admin"}
    assert "spam@example.org" in people["alice"].get("/held")
    assert "spam@example.org" not in people["bob"].get("/held")
    assert "spam@example.org" in people["admin"].get("/held")


def test_the_funnel_has_each_stage_of_the_mails_that_were_sent(people):
    """From the history, Postfix's log, the server and the store, as they are written by real ones."""
    found = {}

    def is_counted():
        found.update(json.loads(people["admin"].get("/funnel?span=1h", "application/json")))
        rows = {each["stage"]: each for each in found["stages"]}
        counts = rows["front"]["refused"], rows["scanner"]["held"], rows["store"]["held"], rows["delivery"]["passed"]
        return counts == (1, 1, 1, 1)

    eventually(is_counted, DEADLINE_S)
    rows = {each["stage"]: each for each in found["stages"]}
    assert (rows["verification"]["asked"] >= 1, found["store"]["held"]) == (True, {"spam": 1})
    # Postfix's own log has whole seconds only.
    assert (rows["scanner"]["passed"], rows["scanner"]["each_s"]) == (1, None)
    assert 0 < rows["front"]["each_s"] < 1
    assert [each["stage"] for each in found["rules"]] == ["front"]
    page = people["admin"].get("/funnel?span=1h")
    assert "Stopped in the last hour: front rules 1, " in page
    assert "In the store now: 1 by spam" in page


def test_a_signal_stops_the_backend_and_starts_it_again(terminal):
    """The command is printed; meanwhile mail to known recipients is accepted, and delivered afterwards."""
    stop = re.search(r"^    (kill -USR1 \d+)$", terminal.said, re.MULTILINE)[1].split()
    port = int(re.search(r"swaks --server 127\.0\.0\.1:(\d+)", terminal.said)[1])
    subprocess.run(["/bin/kill", *stop[1:]], check=True)
    eventually(lambda: "the backend has stopped" in terminal.said, DEADLINE_S)
    assert send(port, "waits@example.org") == 250
    assert not delivered(terminal.said, "waits@example.org")
    subprocess.run(["/bin/kill", *stop[1:]], check=True)
    eventually(lambda: "the backend runs again" in terminal.said, DEADLINE_S)
    eventually(lambda: delivered(terminal.said, "waits@example.org"), DEADLINE_S)


def test_a_digest_can_be_asked_for(terminal):
    """The commands are printed; what arrives leads to the console that runs."""
    commands = re.findall(r"^    (\S+/forkpolicy) (gateway digest .*)$", terminal.said, re.MULTILINE)
    origin = re.search(r"the console: (\S+),", terminal.said)[1]
    listed, sent = (
        subprocess.run(
            [sys.executable, "-m", "forkpolicy", *words.split()], capture_output=True, text=True, check=False
        )
        for _, words in commands
    )
    assert (listed.returncode, listed.stdout) == (0, "alice@example.com  1 new  en\n"), listed.stderr
    assert (sent.returncode, sent.stdout) == (0, "alice@example.com: 1 new\n1 sent, 0 failed\n"), sent.stderr
    eventually(lambda: delivered(terminal.said, f"{origin}/d/"), DEADLINE_S)


def test_a_store_that_is_killed_is_started_again(terminal):
    """The command is printed; what was held is there afterwards."""
    kill, listed = (
        re.search(rf"^    ({words})$", terminal.said, re.MULTILINE)[1].split()
        for words in (r"kill -KILL \d+", r"\S+/forkpolicy held .* list")
    )
    subprocess.run(["/bin/kill", *kill[1:]], check=True)
    eventually(lambda: "the store has ended, and was started again" in terminal.said, DEADLINE_S)
    done = subprocess.run(
        [sys.executable, "-m", "forkpolicy", *listed[1:]], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, "spam@example.org" in done.stdout) == (0, True), done.stderr


def test_ctrl_c_while_it_starts_ends_it_without_a_traceback():
    """The whole group of the terminal gets it, while mail is under way."""
    running = Terminal()
    base = eventually(lambda: started_below(running.process.pid), START_S)
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.process.wait(DEADLINE_S) == 130
    assert "Traceback" not in running.said
    assert not Path(base).exists()
    running.close()


def started_below(pid):
    """The directory of a site whose policy server has started; empty before."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = [stat(Path(f"/proc/{each}/cmdline")) for each in children]
    found = [re.search(r"(/tmp/forkpolicy-\w+)/forkpolicy/", each) for each in lines]
    return next((each[1] for each in found if each), "")


def test_nothing_stays_when_its_terminal_is_closed(terminal):
    """No process of its session, and no file."""
    base = re.search(r"delivered mail: (\S+)/backend", terminal.said)[1]
    assert terminal.end(signal.SIGHUP) == 0
    assert not Path(base).exists()
    sessions = [stat(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert [words for words in sessions if base in words] == []


def stat(path):
    """A command line; empty where it has gone."""
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""
