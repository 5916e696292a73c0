"""What a newcomer runs first."""

from __future__ import annotations

import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request

from loadtest.measure.processes import descendants

ROOT = pathlib.Path(__file__).parent.parent.parent


def test_the_demo_shows_the_founding_rule_at_work(tmp_path):
    """Forged mail is rejected with the rule and the table line that decided; everything legitimate passes."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    done = subprocess.run(
        [sys.executable, "-m", "loadtest", "demo"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("-> REJECT 5.7.1 Authentication required to send as ") == 3
    assert done.stdout.count("-> DUNNO") == 5
    assert "example.com in table local_domains (demo/tables/local-domains:10)" in done.stdout
    sample = (ROOT / "README.md").read_text().split("    forged, from outside: ")[1].split("\n\n")[0]
    assert textwrap.dedent("    forged, from outside: " + sample) in done.stdout
    assert "8 of 8 verdicts as expected" in done.stdout


class Terminal:
    """The demo as a newcomer runs it."""

    def __init__(self, directory, **environment):
        (directory / "conf").symlink_to(ROOT / "conf")
        self.ours, theirs = pty.openpty()
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environment}
        command = [sys.executable, "-m", "loadtest", "demo"]
        self.process = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.said = ""

    def until(self, text, within_s=90):
        """Read what it prints until that stands there."""
        end_s = time.monotonic() + within_s
        while text not in self.said:
            assert select.select([self.ours], [], [], end_s - time.monotonic())[0], self.said
            try:
                part = os.read(self.ours, 1 << 16)
            except OSError:  # the other end is closed, on Linux
                part = b""
            assert part, self.said
            self.said += part.decode().replace("\r\n", "\n")
        return self.said

    def interrupt(self):
        """Ctrl-C goes to every process of the terminal."""
        os.killpg(self.process.pid, signal.SIGINT)


def test_on_a_terminal_it_stays_with_a_console(tmp_path):
    """The link opens the console; mail goes on coming; Ctrl-C ends all of it with status 0 and leaves no process."""
    terminal = Terminal(tmp_path)
    try:
        link = re.search(r"http://127\.0\.0\.1:\d+/first/\S+", terminal.until("Ctrl-C ends the demo."))[0]
        with urllib.request.urlopen(link) as answer:
            assert b"This is the account demo." in answer.read()
        started = descendants(terminal.process.pid)
        assert len(started) >= 4
        terminal.interrupt()
        terminal.until("The server and its console have stopped.")
        assert terminal.process.wait(30) == 0
        assert "Traceback" not in terminal.said
        assert not [pid for pid in started if pathlib.Path(f"/proc/{pid}").exists()]
    finally:
        for pid in descendants(terminal.process.pid) if terminal.process.poll() is None else ():
            os.kill(pid, signal.SIGKILL)
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.ours)


def test_a_terminal_that_must_not_wait(tmp_path):
    """DEMO_WAIT=no ends it as without a terminal."""
    terminal = Terminal(tmp_path, DEMO_WAIT="no")
    try:
        terminal.until("The server has stopped.")
        assert terminal.process.wait(30) == 0
        assert "/first/" not in terminal.said
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.ours)
