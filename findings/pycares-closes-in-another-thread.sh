#!/usr/bin/env bash
# pycares 5.2.1 (c-ares 1.34): what close() does with questions in flight, for a program with its own event loop.
#
# Guess: with sock_state_cb pycares has no thread: everything happens inside calls of the program's one thread. close()
#        ends the questions and the sockets before it returns.
# Seen:  close() only tells a thread of pycares, which every first Channel starts. That thread calls the callbacks of the
#        questions in flight (ECANCELLED), and sock_state_cb of their sockets, while the program's thread does something
#        else: an event loop that belongs to one thread is changed from another. cancel() before close() does both in the
#        caller's thread.
#
# Installs pycares in a temporary folder. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check pycares==5.2.1
timeout 120 "$T/venv/bin/python" - <<'PY'
import socket, sys, threading, time

import pycares

silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 0))
here = threading.get_ident()
print("pycares", pycares.__version__, "c-ares", pycares.ARES_VERSION)


def who():
    return "this thread" if threading.get_ident() == here else "another thread"


def closed(cancels):
    """Who called what, as a channel with one question in flight is closed."""
    heard, done = [], threading.Event()

    def socket_state(_fd, readable, writable):
        if not readable and not writable:
            heard.append(f"socket closed in {who()}")
            done.set()

    channel = pycares.Channel(servers=[f"127.0.0.1:{silent.getsockname()[1]}"], timeout=9, tries=1, sock_state_cb=socket_state)
    channel.query(
        "host.example.net",
        pycares.QUERY_TYPE_A,
        callback=lambda _result, error: heard.append(f"{pycares.errno.errorcode[error]} in {who()}"),
    )
    if cancels:
        channel.cancel()
    channel.close()
    assert done.wait(10), "the socket was never closed"
    return sorted(heard)


plain, cancelled = closed(False), closed(True)
print("close():          ", "; ".join(plain))
print("cancel(), close():", "; ".join(cancelled))
ends = ["ARES_ECANCELLED in {}", "socket closed in {}"]
sys.exit((plain, cancelled) != tuple([end.format(where) for end in ends] for where in ("another thread", "this thread")))
PY
