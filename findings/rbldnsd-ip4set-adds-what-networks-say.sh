#!/usr/bin/env bash
# rbldnsd 1.0~20210120 (Debian 12): an address of its own inside a listed network, in an ip4set.
#
# Guess: the most specific entry wins, as in routing, in Postfix's cidr tables and in rbldnsd's own ip4trie: an address with
#        a code of its own inside a network with another code is answered with its own.
# Seen:  both codes come, as two A records and two TXT records, so that a scorer that counts codes counts the client twice,
#        and a code for "known good" does not take the network's "bad" away. An exclusion (`!address`) does. The same
#        lines as ip4trie have the address's own code alone.
#
# Needs root for the installation, and Debian 12. Installs rbldnsd if it is missing, runs it on loopback in a temporary
# folder, and ends it. Exit status 0: as described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v rbldnsd >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'rbldnsd=1.0~20210120*' >/dev/null
fi
T=$(mktemp -d)
chmod 755 "$T"
PID=
cleanup() {
    [ -z "$PID" ] || kill "$PID" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$T"
}
trap cleanup EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check dnspython==2.9.2
PORT=$(python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf '203.0.113.0/28 :127.0.0.4:network\n203.0.113.5 :127.0.0.9:known good\n!203.0.113.6\n' >"$T/entries"
rbldnsd -n -f -b "127.0.0.1/$PORT" -w "$T" set.example:ip4set:entries trie.example:ip4trie:entries >"$T/log" 2>&1 &
PID=$!
dpkg-query -W -f '${Package} ${Version}\n' rbldnsd
timeout 60 "$T/venv/bin/python" - "$PORT" <<'PY'
import sys

import dns.exception, dns.message, dns.query


def ask(name, rrtype="A"):
    """The records of a name; asked again while the server starts."""
    for _ in range(20):
        try:
            reply = dns.query.udp(dns.message.make_query(name, rrtype), "127.0.0.1", port=int(sys.argv[1]), timeout=1)
            break
        except (dns.exception.Timeout, ConnectionRefusedError):
            pass
    found = sorted(str(record) for rrset in reply.answer for record in rrset)
    print(f"{name} {rrtype}: {' '.join(found) or '-'}")
    return found


network, address, excluded = (f"{last}.113.0.203" for last in (7, 5, 6))
seen = [ask(f"{name}.{zone}") for zone in ("set.example", "trie.example") for name in (network, address, excluded)]
texts = ask(f"{address}.set.example", "TXT")
sys.exit(
    not (
        seen == [["127.0.0.4"], ["127.0.0.4", "127.0.0.9"], [], ["127.0.0.4"], ["127.0.0.9"], []]
        and texts == ['"known good"', '"network"']
    )
)
PY
