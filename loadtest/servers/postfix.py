"""A private Postfix in a directory of its own: configuration, queue, log and port. Needs root and Debian's Postfix.

Runs Postfix's master daemon directly as a child, which listens after some 20 ms and ends on SIGTERM in one. The
machine's own Postfix, if there is one, is neither read nor touched. AUTH is real, answered by `DovecotAuth`. Accepted
mail is discarded.

Raises SetupError, with the reason in one line, where it cannot run; and where a program of it died (`fatal:`, `panic:`
in the log), when it is stopped.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from loadtest.errors import SetupError
from loadtest.servers.dovecot_auth import DovecotAuth
from loadtest.servers.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START_TIMEOUT_S = 20.0
MASTER_CF = """\
127.0.0.1:{port} inet n - {chroot} - {processes} smtpd
cleanup  unix n - n - 0 cleanup
qmgr     unix n - n 300 1 qmgr
rewrite  unix - - n - - trivial-rewrite
bounce   unix - - n - 0 bounce
defer    unix - - n - 0 bounce
trace    unix - - n - 0 bounce
error    unix - - n - - error
retry    unix - - n - - error
discard  unix - - n - - discard
pickup   unix n - n 60 1 pickup
showq    unix n - n - - showq
postlog  unix-dgram n - n - 1 postlogd
"""
# postfix-files(5) has them; `postfix check` would make them too, in 170 ms.
QUEUE_DIRECTORIES = {
    "active": 0o700, "bounce": 0o700, "corrupt": 0o700, "defer": 0o700, "deferred": 0o700, "flush": 0o700,
    "hold": 0o700, "incoming": 0o700, "private": 0o700, "saved": 0o700, "trace": 0o700,
    "maildrop": 0o730, "public": 0o710, "pid": 0o755,
}  # fmt: skip
POLICY_SERVICE = "check_policy_service { unix:private/policy, timeout=5s, { default_action = 451 4.7.1 No policy } }"


def missing() -> str:
    """Why no private Postfix can run here, in one line; empty when it can."""
    if shutil.which("postconf", path=_search_path()) is None:
        return "Postfix is not installed: apt-get install postfix"
    if os.geteuid() != 0:
        return "a private Postfix can only be started by root"
    return ""


@contextlib.contextmanager
def traversable_directory() -> Iterator[Path]:
    """A temporary directory that user postfix and the workers' user can reach, unlike mkdtemp's own 0700."""
    with tempfile.TemporaryDirectory(prefix="forkpolicy-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


class PrivatePostfix:
    """One instance below `base`, which user postfix must be able to reach. Use as a context manager."""

    def __init__(
        self,
        base: Path,
        *,
        main: Mapping[str, str] | None = None,
        chroot: bool = False,
        processes: int = 50,
        port: int = 0,
        services: str = "",
    ) -> None:
        """Write the configuration; `main` adds to main.cf or replaces parts of it, `services` adds to master.cf.

        Nothing runs yet.
        """
        why = missing()
        if why:
            raise SetupError(why)
        self.base, self.port = base, port or free_port()
        self.etc, self.queue, self.log = base / "etc", base / "queue", base / "maillog"
        self._process: subprocess.Popen[bytes] | None = None
        self._auth: DovecotAuth | None = None
        self._make_directories()
        self._write("main.cf", _lines({**_main_cf(self), **(main or {})}))
        chrooted = "y" if chroot else "n"
        self._write("master.cf", MASTER_CF.format(port=self.port, processes=processes, chroot=chrooted) + services)

    @property
    def private(self) -> Path:
        """Where `unix:private/NAME` endpoints are."""
        return self.queue / "private"

    @property
    def pid(self) -> int:
        """That of master(8), whose children all others are."""
        assert self._process
        return self._process.pid

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Run master(8) and wait until it listens."""
        _refuse_taken(self.port)
        master = Path(_postconf("daemon_directory")) / "master"
        # First: an smtpd(8) that finds no authentication server dies.
        self._auth = DovecotAuth(self.private / "auth")
        # A session of its own: on SIGTERM master(8) kills its whole process group.
        self._process = subprocess.Popen(
            [master, "-c", self.etc, "-d"],
            env={**os.environ, "MAIL_CONFIG": str(self.etc), "PATH": _search_path()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_for_banner()
        except SetupError:
            self._end()
            raise

    def stop(self) -> None:
        """End everything; SetupError when a program of it had died meanwhile."""
        if self._process is None:
            return
        self._end()
        died = self.deaths()
        if died:
            raise SetupError("a program of the private Postfix died: " + "\n".join(died))

    def flush(self) -> None:
        """Have mail that was put off tried again now, postqueue(1)."""
        postqueue = shutil.which("postqueue", path=_search_path())
        assert postqueue, "missing() has been asked before"
        subprocess.run([postqueue, "-c", self.etc, "-f"], check=True, timeout=START_TIMEOUT_S)

    def log_text(self) -> str:
        """The whole log so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def deaths(self) -> list[str]:
        """Lines of the log in which a program of Postfix gave up."""
        # Line by line: the log of a day has half a million, and one regular expression for all of it takes minutes.
        return [line for line in self.log_text().splitlines() if "fatal: " in line or "panic: " in line]

    def _end(self) -> None:
        assert self._process is not None
        assert self._auth is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(START_TIMEOUT_S)
        self._auth.close()
        self._process = self._auth = None

    def _make_directories(self) -> None:
        self.etc.mkdir(parents=True)
        for name, mode in QUEUE_DIRECTORIES.items():
            directory = self.queue / name
            directory.mkdir(parents=True)
            owner = "root" if name == "pid" else "postfix"
            shutil.chown(directory, owner, "postdrop" if name in ("maildrop", "public") else "root")
            directory.chmod(mode)
        data = self.base / "data"
        data.mkdir(mode=0o700)
        shutil.chown(data, "postfix", "root")

    def append(self, name: str, text: str) -> None:
        """Add lines to main.cf or master.cf before it starts; of parameters the last one counts."""
        self._write(name, (self.etc / name).read_text() + text)

    def _write(self, name: str, text: str) -> None:
        path = self.etc / name
        path.write_text(text)
        # Postfix pauses for a file that is younger than a second ("to let it cool down").
        past = time.time() - 60
        os.utime(path, (past, past))

    def _wait_for_banner(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        death = os.pidfd_open(self._process.pid)
        try:
            while not _greets(self.port):
                # Paced by the event that would make further tries pointless: the death of master(8).
                dead = select.select([death], [], [], 0.01)[0] or self.deaths()
                if dead or time.monotonic() > deadline:
                    raise SetupError(f"the private Postfix did not start:\n{self.log_text()}")
        finally:
            os.close(death)


def _main_cf(postfix: PrivatePostfix) -> dict[str, str]:
    """Everything local and nothing shared: no DNS, no aliases, no rate limits, logs below `base`."""
    return {
        "compatibility_level": "3.6",
        "queue_directory": str(postfix.queue),
        "data_directory": str(postfix.base / "data"),
        "maillog_file": str(postfix.log),
        "maillog_file_prefixes": str(postfix.base),
        "myhostname": "mx.example.com",
        "mydestination": "",
        "mynetworks": "0.0.0.0/0 [::]/0",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "all",
        "alias_maps": "",
        "alias_database": "",
        "local_recipient_maps": "",
        "smtpd_peername_lookup": "no",
        "disable_dns_lookups": "yes",
        "relay_domains": "static:all",
        "relay_transport": "discard:",
        "default_transport": "discard:",
        # Any address may be forged here, also a second time in one session.
        "smtpd_authorized_xclient_hosts": "0.0.0.0/0 [::]/0",
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": "private/auth",
        # Everybody may relay: what is refused is refused by the policy. Postfix insists on the `reject`.
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "smtpd_recipient_restrictions": POLICY_SERVICE,
        # A load test is one client that makes thousands of mistakes.
        "smtpd_client_connection_count_limit": "0",
        "smtpd_client_connection_rate_limit": "0",
        "smtpd_soft_error_limit": "1000000",
        "smtpd_hard_error_limit": "1000000",
        "smtpd_junk_command_limit": "1000000",
        "smtpd_error_sleep_time": "0",
        "smtpd_timeout": "60s",
        "in_flow_delay": "0",
        "max_use": "100000",
    }


def _refuse_taken(port: int) -> None:
    try:
        with socket.socket() as probe:
            # As Postfix binds: connections of an earlier run in TIME_WAIT are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError as error:
        raise SetupError(f"port {port} is taken ({error.strerror}): choose another one") from error


def _greets(port: int) -> bool:
    # An open port is not enough: smtpd(8) with a wrong setting accepts and then dies.
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
            return probe.recv(4) == b"220 "
    except OSError:
        return False


def _lines(parameters: Mapping[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in parameters.items())


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _postconf(name: str) -> str:
    # -d: the built-in value. Debian installs no main.cf, and without one any other form is a fatal error.
    postconf = shutil.which("postconf", path=_search_path())
    assert postconf, "missing() has been asked before"
    return subprocess.run([postconf, "-d", "-h", name], capture_output=True, text=True, check=True).stdout.strip()
