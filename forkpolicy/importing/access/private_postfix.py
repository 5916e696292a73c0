"""A Postfix of its own in a temporary directory, whose smtpd(8) services listen on UNIX sockets alone. Needs root.

The machine's own Postfix is neither read nor touched. Raises UsageError where it cannot run.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START_TIMEOUT_S: Final = 20.0
_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_DIRECTORIES: Final = {
    **dict.fromkeys(("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming"), 0o700),
    **dict.fromkeys(("private", "saved", "trace"), 0o700),
    "maildrop": 0o730,
    "public": 0o710,
    "pid": 0o755,
}
_MASTER_CF: Final = """\
cleanup  unix n - n - 0 cleanup
rewrite  unix - - n - - trivial-rewrite
bounce   unix - - n - 0 bounce
qmgr     unix n - n 300 1 qmgr
postlog  unix-dgram n - n - 1 postlogd
"""
_MAIN_CF: Final = {
    "compatibility_level": "3.6",
    "inet_interfaces": "127.0.0.1",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "smtpd_peername_lookup": "no",
    "disable_dns_lookups": "yes",
    "smtpd_authorized_xclient_hosts": "0.0.0.0/0 [::]/0",
    "smtpd_reject_unlisted_recipient": "no",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_client_connection_rate_limit": "0",
    "smtpd_soft_error_limit": "1000000",
    "smtpd_hard_error_limit": "1000000",
    "smtpd_junk_command_limit": "1000000",
    "smtpd_error_sleep_time": "0",
    "in_flow_delay": "0",
    "smtpd_client_port_logging": "yes",
    "max_use": "100000",
}


class PrivatePostfix:
    """One instance below `base`, with services whose parameters of their own `smtpd` has."""

    def __init__(self, base: Path, main: Mapping[str, str], smtpd: Mapping[str, Mapping[str, str]]) -> None:
        self.base, self.log = base, base / "maillog"
        self._names = list(smtpd)
        self._queue, self._etc = base / "queue", base / "etc"
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        own = {"queue_directory": self._queue, "data_directory": base / "data", "maillog_file": self.log}
        parameters = {**_MAIN_CF, **main, **own, "maillog_file_prefixes": base}
        self._make_directories()
        self._write("main.cf", "".join(f"{name} = {value}\n" for name, value in parameters.items()))
        services = ""
        for name, options in smtpd.items():
            services += f"{name} unix n - n - 1 smtpd\n"
            services += "".join(f"  -o {{ {option} = {value} }}\n" for option, value in options.items())
        self._write("master.cf", services + _MASTER_CF)

    def postmap(self, word: str) -> None:
        """Make an indexed map of a text. Raises UsageError with what the program says."""
        done = _run("postmap", "-c", str(self._etc), word)
        if done.returncode:
            raise UsageError(f"postmap {word}: {done.stderr.strip()}")

    def start(self) -> None:
        """Return when each service greets. Raises UsageError."""
        directory = _run("postconf", "-c", str(self._etc), "-h", "daemon_directory").stdout.strip()
        self._process = subprocess.Popen(  # noqa: S603 - Postfix's own program
            [f"{directory}/master", "-c", str(self._etc), "-d"],
            env={**os.environ, "MAIL_CONFIG": str(self._etc), "PATH": _PATH},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Ends it when the pipe is closed, which the kernel does where this command is killed. (A signal at the death of
        # its parent is none for master(8): a change of its user clears that.)
        watch = ["/bin/sh", "-c", 'read -r _; kill "$0"', str(self._process.pid)]
        self._watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 - a number
        deadline_s = time.monotonic() + START_TIMEOUT_S
        for name in self._names:
            while not self._greets(name):
                died = [line for line in self.log_text().splitlines() if "fatal: " in line or "panic: " in line]
                if died or self._process.poll() is not None or time.monotonic() > deadline_s:
                    raise UsageError("a Postfix with these lists does not start: " + "\n".join(died))
                time.sleep(0.01)

    def stop(self) -> None:
        """End all of its processes."""
        if self._process:
            assert self._watcher, "both are started together"
            self._watcher.communicate()
            self._process.wait(START_TIMEOUT_S)

    def connect(self, name: str) -> socket.socket:
        """A connection to one service. Raises OSError."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(START_TIMEOUT_S)
        try:
            connection.connect(str(self._queue / "public" / name))
        except OSError:
            connection.close()
            raise
        return connection

    def log_text(self) -> str:
        """The whole log so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _greets(self, name: str) -> bool:
        try:
            with self.connect(name) as connection:
                return connection.recv(4) == b"220 "
        except OSError:
            return False

    def _make_directories(self) -> None:
        self._etc.mkdir(parents=True)
        for name, mode in _DIRECTORIES.items():
            directory = self._queue / name
            directory.mkdir(parents=True)
            group = "postdrop" if name in ("maildrop", "public") else "root"
            shutil.chown(directory, "root" if name == "pid" else "postfix", group)
            directory.chmod(mode)
        data = self.base / "data"
        data.mkdir(mode=0o700)
        shutil.chown(data, "postfix")

    def _write(self, name: str, text: str) -> None:
        path = self._etc / name
        path.write_text(text, encoding="utf-8")
        # Postfix waits for a file that is younger than a second.
        past_s = time.time() - 60
        os.utime(path, (past_s, past_s))


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory that the user postfix can reach. Raises UsageError where no Postfix can be started."""
    if shutil.which("postconf", path=_PATH) is None:
        raise UsageError("--compare needs Postfix, which is not installed here")
    if os.geteuid() != 0:
        raise UsageError("--compare starts a Postfix of its own in a temporary directory: only root can do that")
    with tempfile.TemporaryDirectory(prefix="forkpolicy-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    path = shutil.which(program, path=_PATH) or program
    return subprocess.run([path, *words], capture_output=True, text=True, check=False)  # noqa: S603 - Postfix's own
