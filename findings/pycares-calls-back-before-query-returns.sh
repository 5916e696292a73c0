#!/usr/bin/env bash
# pycares 5.2.1 (c-ares 1.34): the callback of a question, and who calls it.
#
# Guess: query() sends a question and returns; its callback comes later, always in the same way, and each question
#        reaches the name server: caching is the caller's business.
# Seen:  c-ares keeps answers itself (as long as their TTL). For one that it has, the callback runs inside query(), in the
#        caller's thread, before query() has returned: what is set after the call (a counter, a timer, "in flight") is
#        set too late. The first answer comes later and in another thread. And a changed record is not seen for its TTL.
#
# Installs pycares and dnspython (for a small name server on loopback) in a temporary folder. Exit status 0: as described;
# 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check pycares==5.2.1 dnspython==2.9.2
timeout 60 "$T/venv/bin/python" - <<'PY'
import socketserver, sys, threading

import dns.message, dns.rrset
import pycares

asked = []


class Server(socketserver.BaseRequestHandler):
    """Gives the number of the question as an address."""

    def handle(self):
        data, sock = self.request
        query = dns.message.from_wire(data)
        asked.append(query.question[0].name)
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", f"192.0.2.{len(asked)}"))
        sock.sendto(reply.to_wire(), self.client_address)


server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
channel = pycares.Channel(servers=[f"127.0.0.1:{server.server_address[1]}"], timeout=2, tries=2)
caller = threading.get_ident()
print("pycares", pycares.__version__, "c-ares", pycares.ARES_VERSION)


def ask():
    answered, answers = threading.Event(), []

    def callback(result, error):
        answers.append((result.answer[0].data.addr, threading.get_ident() == caller))
        answered.set()

    channel.query("host.example.net", pycares.QUERY_TYPE_A, callback=callback)
    inside = answered.is_set()
    assert answered.wait(10), "no answer"
    address, same_thread = answers[0]
    print(f"{address}, called back {'inside' if inside else 'after'} query(), in {'the caller' if same_thread else 'another'} thread")
    return address, inside, same_thread


first, second = ask(), ask()
print(f"questions that reached the name server: {len(asked)}")
server.shutdown()
sys.exit(not (first == ("192.0.2.1", False, False) and second == ("192.0.2.1", True, True) and len(asked) == 1))
PY
