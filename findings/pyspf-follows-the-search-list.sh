#!/usr/bin/env bash
# pyspf 2.0.14 with dnspython 2.9.2: SPF and the `search` line of resolv.conf.
#
# Guess: an SPF check asks the DNS for the sender's domain as it is, fully qualified. A domain that does not exist has
#        the result "none".
# Seen:  pyspf looks names up by dnspython's old `query()`, which follows the search list. For a sender's domain that
#        does not exist (or an include, a redirect, a PTR name) a second question goes to that name below the machine's
#        search domain, and the record found there decides: with `search corp.example` and a wildcard record
#        `v=spf1 -all` below corp.example, mail of a domain without SPF, and of none at all, fails.
#        `resolve()`, dnspython's present call, asks once.
#
# Installs both packages in a temporary folder, asks a small name server of its own on loopback. Exit status 0: as
# described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check pyspf==2.0.14 dnspython==2.9.2
"$T/venv/bin/python" -W ignore - <<'PY'
import socketserver, sys, threading
from importlib.metadata import version

import dns.message, dns.name, dns.rcode, dns.resolver, dns.rrset
import spf

asked = []


class Server(socketserver.BaseRequestHandler):
    """Has TXT records below corp.example and nothing else."""

    def handle(self):
        data, sock = self.request
        query = dns.message.from_wire(data)
        name = query.question[0].name
        asked.append(name.to_text())
        reply = dns.message.make_response(query)
        if name.is_subdomain(dns.name.from_text("corp.example.")):
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", '"v=spf1 -all"'))
        else:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        sock.sendto(reply.to_wire(), self.client_address)


server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.port = ["127.0.0.1"], server.server_address[1]
print("pyspf", version("pyspf"), "dnspython", version("dnspython"))


def check(search):
    resolver.search = [dns.name.from_text(name) for name in search]
    dns.resolver.default_resolver = resolver
    asked.clear()
    result, _ = spf.check2(i="192.0.2.25", s="anna@missing.example.net", h="mx.example.net")
    print(f"search {' '.join(search) or 'empty':<14} result {result:<5} asked for", *asked)
    return result, list(asked)


plain = check([])
searching = check(["corp.example."])
asked.clear()
try:
    resolver.resolve("missing.example.net", "TXT")
except dns.resolver.NXDOMAIN:
    print("resolve() instead of query(): NXDOMAIN, asked for", *asked)
as_seen = (
    plain == ("none", ["missing.example.net."])
    and searching == ("fail", ["missing.example.net.", "missing.example.net.corp.example."])
    and asked == ["missing.example.net."]
)
server.shutdown()
sys.exit(not as_seen)
PY
