"""A private rspamd of Debian's package without network, below one directory: milter, scans and controller on loopback.

Everything that asks the DNS or another host is off, and its name server says at once that no name exists: each scan
asks for the client's name all the same. Its first start compiles tables for up to two minutes; a kept `database`
directory saves that. Raises SetupError where it cannot run.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from loadtest.errors import SetupError
from loadtest.servers.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FIRST_START_S: Final = 240.0
_END_S: Final = 20.0
_USER: Final = "_rspamd"
_INSTALLED: Final = Path("/etc/rspamd")
SPAM_WORD: Final = "loadtest-makes-this-spam"
_OFF: Final = (  # noqa: SIM905 - reads better as a text
    "rbl dkim dmarc arc surbl asn phishing neural mx_check reputation dkim_signing greylist ratelimit "
    "url_redirector rspamd_update bimi aws_s3 elastic clickhouse replies hfilter fuzzy_check"
).split()
# Of these, what Debian's configuration runs for each mail, and what asks nobody but a name server.
_ASK_NAMES: Final = frozenset("rbl dkim dmarc arc surbl asn phishing mx_check hfilter".split())  # noqa: SIM905 - so too


def missing() -> str:
    """Why no rspamd can run here, in one line; empty when it can."""
    return "" if shutil.which("rspamd") else "rspamd is not installed: apt-get install rspamd"


class FewNames:
    """A name server on loopback that knows TXT records of some names, and that no other name exists."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                query, peer = self._socket.recvfrom(4096)
                if not query:
                    return  # it was closed
                self._socket.sendto(self._reply(query), peer)

    def _reply(self, raw: bytes) -> bytes:
        query = dns.message.from_wire(raw)
        reply = dns.message.make_response(query, recursion_available=True)
        (question,) = query.question
        text = self._texts.get(question.name.to_text(omit_final_dot=True).lower())
        if text is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.TXT:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", f'"{text}"'))
        return reply.to_wire()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class PrivateRspamd:
    """One instance below `base`, which user _rspamd must be able to reach. `files`: names below its configuration, and
    texts. `redis`: the socket of its Redis, for Bayes. `texts`: TXT records, for SPF. `asks_names`: modules that ask
    the DNS are on, as in Debian's configuration. Use as a context manager.
    """

    def __init__(
        self,
        base: Path,
        database: Path,
        *,
        milter: int,
        controller: int,
        files: Mapping[str, str],
        redis: str = "",
        texts: Mapping[str, str] | None = None,
        asks_names: bool = False,
    ) -> None:
        why = missing()
        if why:
            raise SetupError(why)
        self._base, self._database, self._etc = base, database, base / "etc"
        self.milter, self.controller, self.scans = milter, controller, free_port()
        self._names = FewNames(texts or {})
        self._process: subprocess.Popen[bytes] | None = None
        base.mkdir(parents=True, exist_ok=True)
        base.chmod(0o755)
        shutil.copytree(_INSTALLED, self._etc, dirs_exist_ok=True)
        off = [each for each in _OFF if not (asks_names and each in _ASK_NAMES)]
        for name, text in {**self._own_files(redis, off), **files}.items():
            self.write(name, text)

    @property
    def pid(self) -> int:
        """Its first process."""
        assert self._process
        return self._process.pid

    @property
    def log(self) -> Path:
        """Its log."""
        return self._base / "log"

    def _own_files(self, redis: str, off: Sequence[str]) -> dict[str, str]:
        local = "127.0.0.1"
        return {
            **{f"local.d/{name}.conf": "enabled = false;\n" for name in off},
            # The module resolves names of its servers while it starts, whether it is on or not.
            "modules.d/fuzzy_check.conf": "",
            "local.d/options.inc": f'dns {{ nameserver = ["{local}:{self._names.port}"]; '
            "timeout = 0.1s; retransmits = 1; }\nlocal_addrs = [];\n",
            "local.d/logging.inc": f'type = "file";\nfilename = "{self.log}";\nlevel = "warning";\n',
            "local.d/worker-normal.inc": f'bind_socket = "{local}:{self.scans}";\ncount = 1;\n',
            "local.d/worker-controller.inc": f'bind_socket = "{local}:{self.controller}";\nsecure_ip = ["{local}"];\n',
            # Its own test patterns end a scan before SPF and the header with the result: mail with this word is spam to
            # all the rest of it.
            "local.d/multimap.conf": f'LOADTEST_SPAM {{ type = "content"; filter = "body"; regexp = true; '
            f'map = "{self._etc}/local.d/loadtest-spam.map"; score = 9.0; }}\n',
            "local.d/loadtest-spam.map": f"/{SPAM_WORD}/\n",
            "local.d/worker-fuzzy.inc": "enabled = false;\ncount = 0;\n",
            **({"local.d/redis.conf": f'servers = "{redis}";\n'} if redis else {}),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._names.close()

    def write(self, name: str, text: str) -> None:
        """A file of its configuration, before it starts."""
        path = self._etc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def start(self) -> None:
        """Start it, and wait until milter and controller listen."""
        # Debian's file binds the usual ports besides those of local.d.
        main = self._etc / "rspamd.conf"
        lines = main.read_text().splitlines()
        main.write_text("\n".join(each for each in lines if 'bind_socket = "localhost:' not in each) + "\n")
        for each in (self._database, self._base / "run"):
            each.mkdir(parents=True, exist_ok=True)
        for each in (self._base, self._database):
            subprocess.run(["/bin/chown", "-R", f"{_USER}:{_USER}", each], check=True)
        places = {"CONFDIR": self._etc, "LOCAL_CONFDIR": self._etc, "DBDIR": self._database}
        places |= {"RUNDIR": self._base / "run", "LOGDIR": self._base}
        variables = [f"--var={name}={place}" for name, place in places.items()]
        self._process = subprocess.Popen(
            ["/usr/bin/rspamd", "-f", "-u", _USER, "-g", _USER, "-c", main, *variables],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_until_it_listens(self._process)

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _FIRST_START_S
        death = os.pidfd_open(process.pid)
        try:
            while not all(map(_listens, (self.milter, self.controller))):
                # Paced by what would make further tries pointless: its death.
                if select.select([death], [], [], 0.05)[0] or time.monotonic() > deadline:
                    said = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
                    raise SetupError(f"rspamd did not start: {said}")
        finally:
            os.close(death)

    def stop(self) -> None:
        """End it and its workers."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
