"""mtpolicyd with the founding rule: networks as keys of a Berkeley database, domains as one regular expression."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from loadtest.servers.peers.peer import FOUNDING_RULE, OWNER, Peer

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.servers.peers.peer import Right
    from loadtest.traffic.traffic import Day


# One process serves one connection. Addresses are looked up in a Berkeley database, octet by octet from the end.
SETTINGS = """\
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


def _words(here: Path, day: Day, connections: int) -> list[str]:
    """Networks as keys, domains as one regular expression."""
    database = f"{here}/networks.db"
    keys = "".join(f"{_key(network)}\n" for network in day.networks)
    subprocess.run(["/usr/bin/perl", "-e", BERKELEY_DB, database], input=keys, text=True, check=True)
    names = "|".join(re.escape(name) for name in day.domains if not name.startswith("."))
    parents = "|".join(re.escape(name) for name in day.domains if name.startswith("."))
    text = SETTINGS.format(
        here=here,
        owner=OWNER,
        servers=connections + 2,
        most=connections + 10,
        domains=f"(?:@(?:{names})|{parents})$".replace("\\", "\\\\"),
    )
    (here / "settings.conf").write_text(text)
    return ["mtpolicyd", "-f", "-c", f"{here}/settings.conf"]


def _key(network: str) -> str:
    """A network of whole octets, or whole groups of an IPv6 address, as mtpolicyd's map has it."""
    address, _, length = network.partition("/")
    if ":" in network:
        return ":".join(address.split(":")[: int(length) // 16])
    return ".".join(address.split(".")[: int(length) // 8])


def _right(day: Day) -> Right:
    return lambda mail, recipient: (
        b"action=%s\n\n" % (b"reject no" if day.oracle.refuses(mail, recipient) else b"dunno")
    )


MTPOLICYD = Peer("mtpolicyd", "mtpolicyd", "mtpolicyd", FOUNDING_RULE, _words, _right)
