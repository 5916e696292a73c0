"""Other policy servers of Debian, each started below a directory with the founding rule or the nearest job that it has.

`postfwd` and `mtpolicyd` have the rule itself; `postgrey` and `policyd-rate-limit` have jobs of their own, which need a
database. Each takes of the site's lists what it can, and comes with what is right for it to answer. All on UNIX
sockets, none with a cache of answers, which no real traffic would hit as a benchmark does. A peer that is not installed
is skipped by its caller.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.errors import SetupError
from loadtest.measure.processes import descendants
from loadtest.traffic.oracle import Oracle
from loadtest.traffic.traffic import PASSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from loadtest.traffic.mail import Transaction
    from loadtest.traffic.traffic import Day

# Some read lists of a hundred thousand for a minute.
START_TIMEOUT_S = 240.0
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
limit_by_ip: True
limited_networks: {networks}
success_action: "dunno"
fail_action: "defer_if_permit Rate limit reached"
db_error_action: "defer_if_permit No database"
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
# One process serves one connection. Addresses are looked up in a Berkeley database, octet by octet from the end.
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
    <Plugin inside>
        module = "PostfixMap"
        db_file = "{here}/networks.db"
        match_action = "dunno"
    </Plugin>
    <Plugin signed_in>
        module = "Condition"
        key = "sasl_username"
        match = ""
        invert = 1
        action = "dunno"
    </Plugin>
    <Plugin from_us>
        module = "Condition"
        key = "sender"
        re_match = "{domains}"
        <Plugin to_us>
            module = "Condition"
            key = "recipient"
            re_match = "{domains}"
            action = "reject no"
        </Plugin>
    </Plugin>
</VirtualHost>
"""
BERKELEY_DB = """\
use BerkeleyDB;
tie my %map, "BerkeleyDB::Hash", -Filename => $ARGV[0], -Flags => DB_CREATE or die "$ARGV[0]: $!";
while (<STDIN>) { chomp; $map{"$_\\0"} = "OK\\0"; }
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """One server: its program, its Debian package, what it does here, the words that start it, and what is right."""

    name: str
    program: str
    package: str
    job: str
    words: Callable[[Path, Day, int], list[str]]
    # What the right reply to a mail and one of its recipients begins with.
    right: Callable[[Day], Callable[[Transaction, str], bytes]]
    # It goes into the background by itself and leaves its process id in a file.
    daemon: bool = False

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


def postgrey(here: Path, day: Day, _connections: int) -> list[str]:
    """Greylisting in a Berkeley database, but not of the site's own networks."""
    (here / "clients").write_text("".join(f"{network}\n" for network in day.networks))
    (here / "recipients").touch()
    words = f"postgrey --unix={here}/peer.sock --dbdir={here} --pidfile={here}/pid --user={OWNER[0]} --group={OWNER[1]}"
    words += f" --whitelist-clients={here}/clients --whitelist-recipients={here}/recipients"
    # A client that asks again gets the same reply, for as long as this runs.
    return [*words.split(), "--delay=86400"]


def rate_limit(here: Path, day: Day, _connections: int) -> list[str]:
    """Counting in SQLite who has signed in, and clients of the site's networks."""
    (here / "settings.yaml").write_text(RATE_LIMIT.format(here=here, owner=OWNER, networks=json.dumps(day.networks)))
    return ["policyd-rate-limit", "--file", f"{here}/settings.yaml"]


def mtpolicyd(here: Path, day: Day, connections: int) -> list[str]:
    """Networks as keys, domains as one regular expression."""
    database = f"{here}/networks.db"
    keys = "".join(f"{_key(network)}\n" for network in day.networks)
    subprocess.run(["/usr/bin/perl", "-e", BERKELEY_DB, database], input=keys, text=True, check=True)
    names = "|".join(re.escape(name) for name in day.domains if not name.startswith("."))
    parents = "|".join(re.escape(name) for name in day.domains if name.startswith("."))
    text = MTPOLICYD.format(
        here=here,
        owner=OWNER,
        servers=connections + 2,
        most=connections + 10,
        domains=f"(?:@(?:{names})|{parents})$".replace("\\", "\\\\"),
    )
    (here / "settings.conf").write_text(text)
    return ["mtpolicyd", "-f", "-c", f"{here}/settings.conf"]


def founding(refused: bytes, passed: bytes) -> Callable[[Day], Callable[[Transaction, str], bytes]]:
    """What is right where the founding rule is."""

    def of(day: Day) -> Callable[[Transaction, str], bytes]:
        return lambda mail, recipient: refused if day.oracle.refuses(mail, recipient) else passed

    return of


def founding_of_ipv4(day: Day) -> Callable[[Transaction, str], bytes]:
    """What is right for postfwd, whose networks are IPv4 only: no IPv6 client is inside."""
    oracle = Oracle(_of_ipv4(day.networks), day.domains)
    return lambda mail, recipient: b"action=REJECT no\n\n" if oracle.refuses(mail, recipient) else PASSED


def greylisted(day: Day) -> Callable[[Transaction, str], bytes]:
    """Later, for everybody who is not inside, whatever the mail is."""
    later = b"action=DEFER_IF_PERMIT 4.2.0 Greylisted"
    return lambda mail, _: PASSED if day.oracle.is_inside(mail.client) else later


def below_the_limit(_day: Day) -> Callable[[Transaction, str], bytes]:
    """A limit that no sender reaches."""
    return lambda _mail, _recipient: b"action=dunno\n\n"


RULE = "the founding rule"
PEERS = (
    Peer("postfwd1", "postfwd1", "postfwd", f"{RULE}, IPv4", postfwd1, founding_of_ipv4, daemon=True),
    Peer("postfwd2", "postfwd2", "postfwd", f"{RULE}, IPv4", postfwd2, founding_of_ipv4, daemon=True),
    Peer(
        "mtpolicyd", "mtpolicyd", "mtpolicyd", RULE, mtpolicyd, founding(b"action=reject no\n\n", b"action=dunno\n\n")
    ),
    Peer("postgrey", "postgrey", "postgrey", "greylisting, but of our networks", postgrey, greylisted),
    Peer(
        "policyd-rate-limit",
        "policyd-rate-limit",
        "policyd-rate-limit",
        "counting by login or network",
        rate_limit,
        below_the_limit,
    ),
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
    (here / "networks").write_text("\n".join(_of_ipv4(day.networks)) + "\n")
    (here / "domains").write_text("\n".join(name for name in day.domains if not name.startswith(".")) + "\n")
    parents = [name.replace(".", "\\.") for name in day.domains if name.startswith(".")]
    # The same item several times is a list.
    ours = [
        " ".join([f"{item}==file:{here}/domains;", *(f"{item}=~{name}$;" for name in parents)])
        for item in ("sender_domain", "recipient_domain")
    ]
    rules = [
        f"id=INSIDE; client_address==file:{here}/networks; action=DUNNO",
        "id=SIGNED_IN; sasl_method=~.; action=DUNNO",
        f"id=FORGED; {' '.join(ours)} action=REJECT no",
    ]
    (here / "rules.cf").write_text("\n".join(rules) + "\n")
    words = f"--file {here}/rules.cf --daemon --proto unix --port {here}/peer.sock --pidfile {here}/pid"
    return [*words.split(), *f"--user {OWNER[0]} --group {OWNER[1]} --umask 000 -n -c 0 --norulelog".split()]


def _of_ipv4(networks: Iterable[str]) -> list[str]:
    return [each for each in networks if ":" not in each]


def _key(network: str) -> str:
    """A network of whole octets, or whole groups of an IPv6 address, as mtpolicyd's map has it."""
    address, _, length = network.partition("/")
    if ":" in network:
        return ":".join(address.split(":")[: int(length) // 16])
    return ".".join(address.split(".")[: int(length) // 8])


def _wait(path: Path, process: subprocess.Popen[bytes], peer: Peer, log: Path) -> None:
    # None of them reports that it is ready: connect until one accepts, or the process has failed.
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
