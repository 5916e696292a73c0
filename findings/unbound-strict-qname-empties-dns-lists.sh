#!/usr/bin/env bash
# unbound 1.17.1 in front of rbldnsd 1.0~20210120 (Debian 12): qname-minimisation-strict, and private-address.
#
# Guess: what a resolver cannot look up or may not pass on fails (SERVFAIL), so a mail server that asks a DNS list by it
#        sees that the list does not work. With either option all other names go on working.
# Seen:  nothing fails, and nobody is listed any more. rbldnsd says NXDOMAIN for the names between a zone and its entries
#        (113.0.203.list.example), against RFC 8020; strict minimisation asks for those first and believes it: NXDOMAIN
#        for each listed client. With private-address: 127.0.0.0/8 a listing is NOERROR without a record, and its TXT
#        record still says that the client is listed. private-domain for the zone repairs the latter.
#
# Needs root for the installation, and Debian 12. Installs both if they are missing, runs them on loopback in a temporary
# folder, and ends them. Exit status 0: as described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
missing=()
command -v rbldnsd >/dev/null || missing+=('rbldnsd=1.0~20210120*')
command -v unbound >/dev/null || missing+=('unbound=1.17.1*')
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
T=$(mktemp -d)
chmod 755 "$T"
PIDS=()
cleanup() {
    kill "${PIDS[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$T"
}
trap cleanup EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check dnspython==2.9.2
free_port() { python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
printf ':127.0.0.2:listed\n127.0.0.2\n203.0.113.5\n' >"$T/entries"
LIST=$(free_port)
rbldnsd -n -f -b "127.0.0.1/$LIST" -w "$T" "list.example:ip4set:entries" >"$T/rbldnsd.log" 2>&1 &
PIDS+=($!)

# resolver NAME OPTION...: an unbound in front of the list, with these lines; its port.
resolver() {
    local name=$1 port
    shift
    port=$(free_port)
    {
        printf 'server:\n interface: 127.0.0.1\n port: %s\n access-control: 127.0.0.0/8 allow\n' "$port"
        printf ' directory: "%s"\n chroot: ""\n username: ""\n pidfile: "%s/%s.pid"\n use-syslog: no\n' "$T" "$T" "$name"
        printf ' do-not-query-localhost: no\n module-config: "iterator"\n num-threads: 1\n'
        printf ' %s\n' "$@"
        printf 'remote-control:\n control-enable: no\n'
        printf 'stub-zone:\n name: "list.example"\n stub-addr: 127.0.0.1@%s\n' "$LIST"
    } >"$T/$name.conf"
    unbound -d -c "$T/$name.conf" >"$T/$name.log" 2>&1 &
    PIDS+=($!)
    PORTS[$name]=$port
}
declare -A PORTS
resolver usual 'qname-minimisation: yes'
resolver strict 'qname-minimisation: yes' 'qname-minimisation-strict: yes'
resolver private 'private-address: 127.0.0.0/8'
resolver repaired 'private-address: 127.0.0.0/8' 'private-domain: "list.example"'
unbound -V | head -n 1
dpkg-query -W -f '${Package} ${Version}\n' rbldnsd
timeout 60 "$T/venv/bin/python" - "$LIST" "${PORTS[usual]}" "${PORTS[strict]}" "${PORTS[private]}" "${PORTS[repaired]}" <<'PY'
import sys

import dns.exception, dns.message, dns.query, dns.rcode

NAMES = ("rbldnsd itself", "unbound", "strict", "private-address", "private-domain, too")
PORTS = dict(zip(NAMES, map(int, sys.argv[1:])))


def ask(port, name, rrtype):
    """The result and the records; asked again while the server starts."""
    for _ in range(20):
        try:
            reply = dns.query.udp(dns.message.make_query(name, rrtype), "127.0.0.1", port=port, timeout=1)
            break
        except (dns.exception.Timeout, ConnectionRefusedError):
            pass
    return dns.rcode.to_text(reply.rcode()), [str(record) for rrset in reply.answer for record in rrset]


seen = {}
for who, port in PORTS.items():
    for name, rrtype in (("5.113.0.203.list.example", "A"), ("5.113.0.203.list.example", "TXT")):
        seen[who, rrtype] = ask(port, name, rrtype)
        print(f"{who:20} {name} {rrtype:4} {seen[who, rrtype]}")
between = ask(PORTS["rbldnsd itself"], "113.0.203.list.example", "A")
print(f"{'rbldnsd itself':20} 113.0.203.list.example   A    {between}")
listed = ("NOERROR", ["127.0.0.2"])
text = ("NOERROR", ['"listed"'])
sys.exit(
    not (
        all(seen[who, "A"] == listed for who in ("rbldnsd itself", "unbound", "private-domain, too"))
        and between[0] == "NXDOMAIN"
        and seen["strict", "A"] == seen["strict", "TXT"] == ("NXDOMAIN", [])
        and seen["private-address", "A"] == ("NOERROR", [])
        and seen["private-address", "TXT"] == text
    )
)
PY
