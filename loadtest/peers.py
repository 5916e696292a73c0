"""Other policy servers of Debian, each started below a directory with the founding rule or the nearest job that it has.

`postfwd` has the rule itself; `mtpolicyd` a part of it (one pattern on the sender); `postgrey` and
`policyd-rate-limit` have jobs of their own, which need a database. All on UNIX sockets, none with a cache of answers,
which no real traffic would hit as a benchmark does. A peer that is not installed is skipped by its caller.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.errors import SetupError
from loadtest.processes import descendants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loadtest.stream import Day

START_TIMEOUT_S = 60.0
PAUSE_S = 0.05
OWNER = ("nobody", "nogroup")

RATE_LIMIT = """\
debug: False
user: "{owner[0]}"
group: "{owner[1]}"
pidfile: "{here}/pid"
sqlite_config:
    database: "{here}/db.sqlite3"
backend: 0
SOCKET: "{here}/peer.sock"
socket_permission: 0666
limits:
    - [1000000000, 60]
limits_by_id: {{}}
limit_by_sasl: True
limit_by_sender: False
limit_by_ip: False
limited_networks: []
success_action: "dunno"
fail_action: "defer_if_permit Rate limit reached"
db_error_action: "dunno"
delay_to_close: 300
report: False
report_from: null
report_to: null
report_subject: "report"
report_limits: [86400]
report_only_if_needed: True
smtp_server: ["localhost", 25]
smtp_starttls: False
smtp_credentials: null
"""
MTPOLICYD = """\
user={owner[0]}
group={owner[1]}
pid_file="{here}/pid"
log_level=0
host=127.0.0.1
port="{here}/peer.sock|unix"
min_servers={servers}
min_spare_servers=2
max_spare_servers={servers}
max_servers={most}
max_requests=1000000000
keepalive_timeout=300
max_keepalive=0
request_timeout=20
<VirtualHost {here}/peer.sock>
    name="founding"
    <Plugin spoof>
        module = "Condition"
        key = "sender"
        re_match = "@example\\.(com|net)$"
        action = "reject Authentication required"
    </Plugin>
</VirtualHost>
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """One server: its program, its Debian package, what it does here, and the words that start it."""

    name: str
    program: str
    job: str
    words: Callable[[Path, Day, int], list[str]]
    # It goes into the background by itself and leaves its process id in a file.
    daemon: bool = False
    takes_lists: bool = False

    def installed(self) -> bool:
        """Whether Debian's package is there."""
        return shutil.which(self.program, path=_search_path()) is not None


def postfwd1(here: Path, day: Day, _connections: int) -> list[str]:
    """One process for all connections."""
    return ["postfwd1", *_postfwd(here, day)]


def postfwd2(here: Path, day: Day, connections: int) -> list[str]:
    """A child for each connection."""
    # Net::Server refuses silently what does not satisfy: least <= most spare < most.
    servers = f"--min_servers {connections + 8} --min_spare_servers 5 --max_spare_servers {connections + 10}".split()
    servers += ["--max_servers", str(connections + 100)]
    cache = ["--cache_proto", "unix", "--cache_port", f"{here}/cache.sock", "--server_umask", "000"]
    return ["postfwd2", *_postfwd(here, day), *servers, *cache]


def postgrey(here: Path, _day: Day, _connections: int) -> list[str]:
    """Greylisting in a Berkeley database."""
    return [
        "postgrey",
        f"--unix={here}/peer.sock",
        f"--dbdir={here}",
        f"--user={OWNER[0]}",
        f"--group={OWNER[1]}",
        f"--pidfile={here}/pid",
    ]


def rate_limit(here: Path, _day: Day, _connections: int) -> list[str]:
    """Counting in SQLite."""
    (here / "settings.yaml").write_text(RATE_LIMIT.format(here=here, owner=OWNER))
    return ["policyd-rate-limit", "--file", f"{here}/settings.yaml"]


def mtpolicyd(here: Path, _day: Day, connections: int) -> list[str]:
    """One condition."""
    text = MTPOLICYD.format(here=here, owner=OWNER, servers=connections + 2, most=connections + 10)
    (here / "settings.conf").write_text(text)
    return ["mtpolicyd", "-f", "-c", f"{here}/settings.conf"]


PEERS = (
    Peer("postfwd1", "postfwd1", "the founding rule", postfwd1, daemon=True, takes_lists=True),
    Peer("postfwd2", "postfwd2", "the founding rule", postfwd2, daemon=True, takes_lists=True),
    Peer("mtpolicyd", "mtpolicyd", "one pattern on the sender", mtpolicyd),
    Peer("postgrey", "postgrey", "greylisting", postgrey),
    Peer("policyd-rate-limit", "policyd-rate-limit", "counting, whoever has signed in", rate_limit),
)


@contextlib.contextmanager
def running(peer: Peer, here: Path, day: Day, connections: int) -> Iterator[tuple[Path, list[int]]]:
    """Start it; its socket and its processes. SetupError with its own words when it does not start."""
    here.mkdir(parents=True)
    shutil.chown(here, *OWNER)
    path, log = here / "peer.sock", here / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            peer.words(here, day, connections),
            env={**os.environ, "PATH": _search_path()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(path, process, peer, log)
        first = int((here / "pid").read_text()) if peer.daemon else process.pid
        yield path, [first, *descendants(first)]
    finally:
        _end(process.pid if not peer.daemon else _pid_in(here / "pid"))
        process.wait()


def _postfwd(here: Path, day: Day) -> list[str]:
    # Its networks are IPv4's; a list is the same item several times.
    networks = [each for each in day.networks if ipaddress.ip_network(each).version == 4]
    domains = [each.lstrip(".") for each in day.domains]
    rules = [
        f"id=INSIDE; {_items('client_address', networks)} action=DUNNO",
        "id=SIGNED_IN; sasl_method=~.; action=DUNNO",
        f"id=FORGED; {_items('sender_domain', domains)} {_items('recipient_domain', domains)} action=REJECT no",
    ]
    (here / "rules.cf").write_text("\n".join(rules) + "\n")
    words = f"--file {here}/rules.cf --daemon --proto unix --port {here}/peer.sock --pidfile {here}/pid"
    return [*words.split(), *f"--user {OWNER[0]} --group {OWNER[1]} --umask 000 -n -c 0 --norulelog".split()]


def _items(name: str, values: list[str]) -> str:
    return " ".join(f"{name}={value};" for value in values)


def _wait(path: Path, process: subprocess.Popen[bytes], peer: Peer, log: Path) -> None:
    # None of them says when it is ready: knock until somebody opens, or the process has failed.
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and _alive(process, daemon=peer.daemon):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        time.sleep(PAUSE_S)
    raise SetupError(f"{peer.name} did not start: {log.read_text(errors='replace').strip()[-500:]}")


def _alive(process: subprocess.Popen[bytes], *, daemon: bool) -> bool:
    """Whether it may still come: a daemon's first process ends early, and ends well."""
    code = process.poll()
    return code is None or (daemon and code == 0)


def _pid_in(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return 0


def _end(pid: int) -> None:
    if not pid:
        return
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
