#!/usr/bin/env bash
# pycares 5.2.1 (c-ares 1.34): which names can be asked for.
#
# Guess: any: a name of the DNS may have any byte (RFC 2181, section 11), and SPF needs that: a macro such as
#        exists:%{l}._spf.example.net puts the local part of a mail address into a name, with its "=", "+" or "#".
# Seen:  query() refuses every name with another character than letters, digits, "-", "_", "*", "/" and the dot
#        (EBADNAME), and asks nobody. An escape (\061) does not help. dnspython asks, and the name is there.
#
# Installs pycares and dnspython (also for a small name server on loopback) in a temporary folder. Exit status 0: as
# described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check pycares==5.2.1 dnspython==2.9.2
timeout 120 "$T/venv/bin/python" - <<'PY'
import socketserver, string, sys, threading

import dns.message, dns.query, dns.rrset
import pycares

asked = []


class Server(socketserver.BaseRequestHandler):
    """Every name is there."""

    def handle(self):
        data, sock = self.request
        query = dns.message.from_wire(data)
        asked.append(query.question[0].name)
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", "127.0.0.2"))
        sock.sendto(reply.to_wire(), self.client_address)


server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address, port = server.server_address
channel = pycares.Channel(servers=[f"{address}:{port}"], timeout=2, tries=2)
print("pycares", pycares.__version__, "c-ares", pycares.ARES_VERSION)


def ask(name):
    answered, errors = threading.Event(), []

    def callback(_result, error):
        errors.append(error)
        answered.set()

    try:
        channel.query(name, pycares.QUERY_TYPE_A, callback=callback)
    except pycares.AresError as error:
        return pycares.errno.errorcode[error.args[0]]
    assert answered.wait(10), "no answer"
    return pycares.errno.errorcode.get(errors[0], "answered")


refused = "".join(each for each in string.punctuation if each not in "\\." and ask(f"a{each}b.example.net") == "ARES_EBADNAME")
print("refused in a name:", refused)
name = "user=tag._spf.example.net"
print(name, "by pycares:", ask(name), "- escaped:", ask(r"user\061tag._spf.example.net"))
before = len(asked)
reply = dns.query.udp(dns.message.make_query(name, "A"), address, port=port, timeout=5)
print(name, "by dnspython:", reply.answer[0])
server.shutdown()
sys.exit(not (set("=+#@!") <= set(refused) and ask(name) == "ARES_EBADNAME" and len(asked) == before + 1))
PY
