"""A `forkpolicy serve` for one test or run: its files in one directory, started, asked, signalled and stopped.

Every wait is for an event: READY=1 on the notification socket as systemd gets it, or the end of the process. Runs
whatever `forkpolicy` this Python imports. Raises SetupError with what the server said when it does not start.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from forkpolicy.control_client import ask
from loadtest.errors import SetupError
from loadtest.measure.processes import descendants

FORKPOLICY = (sys.executable, "-m", "forkpolicy")
COMPILE = (str(Path(sys.executable).with_name("forkpolicy-compile")),)
START_TIMEOUT_S = 20.0
COMMAND_TIMEOUT_S = 60.0
QUIET_S = 0.03
MAX_QUIET_LOOKS = 30

SETTINGS = """\
policy = "{policy}"
tables = "compiled"
[server]
listen = [{listen}]
socket_user = "{socket_user}"
socket_group = "{socket_group}"
user = "{user}"
group = "{group}"
workers = {workers}
control = "unix:control"
{more}
[mail]
recipient_delimiter = "{delimiter}"
{mail}
[log]
decisions = "{decisions}"
format = "{log_format}"
target = "{target}"
"""
STATE = """\
[state]
live = "{live}"
kept = "kept"
max_size = "{map_size}"
"""


class Server:
    """One forkpolicy, its settings and policy below `directory`. Use as a context manager, or start and stop it."""

    def __init__(
        self,
        directory: Path,
        policy: str | Path,
        *,
        socket_path: Path | None = None,
        sources: dict[str, str] | None = None,
        workers: int = 1,
        delimiter: str = "",
        decisions: str = "acted",
        log_format: str = "logfmt",
        more: str = "",
        mail: str = "",
        log: Path | None = None,
        environment: dict[str, str] | None = None,
        live: Path | None = None,
        map_size: str = "16M",
        state_and_more: str = "",
    ) -> None:
        """Write the settings and, where `policy` is a text and not the path of a file, the policy and its `sources`.
        `more`: lines for [server]; `mail`: for [mail]. `live`: directory of the live map; `map_size`: its size, empty
        for an earlier build, which knows no such section; `state_and_more`: lines for [state], then other sections.
        """
        self.directory = directory
        self.settings = directory / "forkpolicy.toml"
        self.log = log or directory / "log"
        self._environment = environment or {}
        self.socket_path = socket_path or directory / "policy"
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        if isinstance(policy, str):
            self.write_policy(policy)
            policy = directory / "policy.conf"
        for name, text in (sources or {}).items():
            self.write_source(name, text)
        user, group, socket_user, socket_group = _owners(self.socket_path, directory)
        settings = SETTINGS.format(
            policy=policy,
            listen=f'"unix:{self.socket_path}"',
            socket_user=socket_user,
            socket_group=socket_group,
            user=user,
            group=group,
            workers=workers,
            delimiter=delimiter,
            decisions=decisions,
            log_format=log_format,
            target=self.log,
            more=more,
            mail=mail,
        )
        state = STATE.format(live=live or "live", map_size=map_size) if map_size else ""
        self.settings.write_text(settings + state + state_and_more)

    def __enter__(self) -> Self:
        """Compile the tables and start."""
        self.compile()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, whatever state it is in."""
        self.stop()

    def write_policy(self, text: str) -> None:
        """Replace the policy; `reload` makes it count. Renamed: a reload at the same time must not read half of it."""
        new = self.directory / ".policy.conf"
        new.write_text(text)
        new.rename(self.directory / "policy.conf")

    def write_source(self, name: str, text: str) -> None:
        """Replace the source of a table; `compile` makes it count."""
        (self.directory / name).write_text(text)

    def compile(self, *arguments: str) -> None:
        """`forkpolicy-compile`; SetupError with its words when it refuses."""
        self._run(*COMPILE, "-c", str(self.settings), *arguments)

    def start(self) -> None:
        """Start the master and wait for READY=1."""
        ready = self.directory / "notify"
        ready.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            notifications.bind(str(ready))
            notifications.settimeout(0.05)
            with (self.directory / "stderr").open("wb") as stderr:
                self.process = subprocess.Popen(
                    [*FORKPOLICY, "serve", "-c", str(self.settings)],
                    env={**os.environ, **self._environment, "NOTIFY_SOCKET": str(ready)},
                    stdin=subprocess.DEVNULL,
                    stderr=stderr,
                )
            self._wait_ready(notifications)

    def stop(self) -> int | None:
        """A graceful stop (SIGTERM); its exit code, None when it was not running."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """The master dies without a chance to say goodbye."""
        self._end(signal.SIGKILL)

    def reload(self) -> subprocess.CompletedProcess[str]:
        """`forkpolicy reload`: returns when every worker serves the new policy, or with the reason why not."""
        return self.command("reload")

    def status(self) -> dict[str, Any]:
        """`forkpolicy status --json`."""
        answer: dict[str, Any] = json.loads(self._run(*FORKPOLICY, "status", "--json", "-c", str(self.settings)))
        return answer

    def obey(self, command: str, timeout_s: float = START_TIMEOUT_S, **more: object) -> dict[str, Any]:
        """A command without the cost of a program: straight to the control socket. Raises NotRunningError."""
        return ask(str(self.directory / "control"), {"command": command, **more}, timeout_s)

    def command(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Any other `forkpolicy` command of this server's settings, `text` as its standard input."""
        verb, *rest = words
        return subprocess.run(
            [*FORKPOLICY, verb, "-c", str(self.settings), *rest],
            input=text,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def worker_pids(self) -> list[int]:
        """The workers' process ids, as `status` has them."""
        assert self.process is not None
        return [int(worker["pid"]) for worker in self.status()["workers"]]

    def process_ids(self) -> list[int]:
        """The master and all its descendants, for figures about memory and CPU."""
        assert self.process is not None
        return [self.process.pid, *descendants(self.process.pid)]

    def said(self) -> str:
        """What it wrote to standard error and to its log so far, once both have been quiet for a moment."""
        said = self._said_now()
        # The logger may leave lines in its pipe for 20 ms while many come: nothing says that there are none.
        for _ in range(MAX_QUIET_LOOKS):
            select.select([], [], [], QUIET_S)
            before, said = said, self._said_now()
            if said == before:
                break
        return said

    def _said_now(self) -> str:
        parts = [path.read_text(errors="replace") for path in (self.directory / "stderr", self.log) if path.exists()]
        return "".join(parts)

    def _end(self, signum: int) -> int | None:
        if self.process is None:
            return None
        self.process.send_signal(signum)
        try:
            code = self.process.wait(START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise SetupError(f"forkpolicy did not stop within {START_TIMEOUT_S:g} s") from None
        finally:
            self.process = None
        return code

    def _wait_ready(self, notifications: socket.socket) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in notifications.recv(4096):
                    return
        self._end(signal.SIGKILL)
        # The log of a run before may be long.
        raise SetupError(f"forkpolicy serve did not start:\n{self.said()[-3000:]}")

    def _run(self, *words: str) -> str:
        environment = {**os.environ, **self._environment}
        done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False, env=environment)
        if done.returncode:
            raise SetupError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout


def _owners(socket_path: Path, directory: Path) -> tuple[str, str, str, str]:
    """The user of the workers and the owner of the socket: our own, or as root the least that works.

    In a checkout below a closed directory, such as root's home, no other user could read the tables: then it is root.
    """
    closed = any(not parent.stat().st_mode & 0o001 for parent in (directory.absolute(), *directory.absolute().parents))
    if os.geteuid() != 0 or closed:
        me, mine = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
        return me, mine, me, mine
    below_postfix = socket_path.parent.name == "private"
    return ("nobody", "nogroup", *(("postfix", "postfix") if below_postfix else ("nobody", "nogroup")))
