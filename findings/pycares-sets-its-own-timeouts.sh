#!/usr/bin/env bash
# pycares 5.2.1 (c-ares 1.34): how long a question waits for its answer.
#
# Guess: Channel(timeout=1, tries=2) waits a second for an answer, asks once more, and waits another second.
# Seen:  From the third answer on, a try waits five times the average of the answers of this server so far, 250 ms at
#        least; `timeout` is for a server that nothing is known of. After 20 quick answers (from a cache, say) one that
#        takes 0.6 s (its name server is far away) fails after 0.5 to 0.8 s with ETIMEOUT. More tries do not help: the
#        second one waits twice as long, and the answer to the first one is no longer taken when it comes. A new channel
#        gets the same answer in 0.6 s, with one try.
#
# Installs pycares and dnspython (for a small name server on loopback) in a temporary folder. Exit status 0: as described;
# 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check pycares==5.2.1 dnspython==2.9.2
timeout 120 "$T/venv/bin/python" - <<'PY'
import socketserver, sys, threading, time

import dns.message, dns.rrset
import pycares

sys.stdout.reconfigure(line_buffering=True)
asked = []


class Server(socketserver.BaseRequestHandler):
    """Answers at once, names that begin with "slow" after 0.6 s."""

    def handle(self):
        data, sock = self.request
        query = dns.message.from_wire(data)
        name = query.question[0].name
        asked.append(name.to_text())
        if name.to_text().startswith("slow"):
            time.sleep(0.6)
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(name, 300, "IN", "A", "192.0.2.1"))
        sock.sendto(reply.to_wire(), self.client_address)


server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Server)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print("pycares", pycares.__version__, "c-ares", pycares.ARES_VERSION)


def channel():
    return pycares.Channel(servers=[f"127.0.0.1:{server.server_address[1]}"], timeout=1, tries=2)


def ask(of, name):
    answered, answers, started = threading.Event(), [], time.monotonic()

    def callback(_result, error):
        answers.append(pycares.errno.errorcode.get(error, "answered"))
        answered.set()

    of.query(name, pycares.QUERY_TYPE_A, callback=callback)
    assert answered.wait(20), "no end"
    return answers[0], time.monotonic() - started


old, new = channel(), channel()
for number in range(20):
    assert ask(old, f"quick{number}.example.net")[0] == "answered"
results = {}
for title, of, name in (("after 20 quick answers", old, "slow.example.net"), ("a new channel", new, "slow2.example.net")):
    result, took_s = results[title] = ask(of, name)
    print(f"{title}: {result} after {took_s:.2f} s, sent {asked.count(name + '.')} times")
failed, good = results.values()
sys.exit(not (failed[0] == "ARES_ETIMEOUT" and failed[1] < 1.2 and good[0] == "answered" and good[1] < 0.9))
PY
