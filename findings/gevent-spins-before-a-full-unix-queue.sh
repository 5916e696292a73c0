#!/usr/bin/env bash
# gevent 26.9.0 on Linux: gevent.socket's connect() to a UNIX socket whose queue of connections is full.
#
# Guess: it waits until the server accepts, as a blocking connect() does, and lets other greenlets run meanwhile; or it
#        fails at once with EAGAIN, as a non-blocking one does (connect(2)).
# Seen:  it tries again without a pause, with all the CPU that it gets: the kernel answers EAGAIN, gevent takes that for
#        EINPROGRESS and waits until the socket is writable, and poll(2) says that an unconnected UNIX socket is. Other
#        greenlets run in between. With TCP, whose queue is full in the same way, it sleeps.
#
# Installs the package in a temporary folder; the server is a socket that listens and never accepts. Exit status 0: as
# described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check gevent==26.9.0
cat >"$T/spins.py" <<'PY'
import errno, select, socket, sys, time

import gevent
import gevent.socket

path = sys.argv[1]
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(0)
first = socket.socket(socket.AF_UNIX)
first.connect(path)

plain = socket.socket(socket.AF_UNIX)
plain.setblocking(False)
print("plain, non-blocking:", errno.errorcode[plain.connect_ex(path)])
print("writable according to select:", bool(select.select([], [plain], [], 0)[1]))

spent = time.process_time()
with gevent.Timeout(1, False):
    gevent.socket.socket(socket.AF_UNIX).connect(path)
    print("connected")
spent = time.process_time() - spent

# The same on loopback by TCP: the queue is full once a connect() is not done at once.
server = socket.create_server(("127.0.0.1", 0), backlog=0)
held = []
while True:
    held.append(socket.socket())
    held[-1].setblocking(False)
    held[-1].connect_ex(server.getsockname())
    if not select.select([], [held[-1]], [], 0.2)[1]:
        break
idle = time.process_time()
with gevent.Timeout(1, False):
    gevent.socket.socket().connect(server.getsockname())
    print("connected")
idle = time.process_time() - idle
print("gevent", gevent.__version__)
print(f"CPU within a second: UNIX {spent:.2f} s, TCP {idle:.2f} s", file=sys.stderr)
print("spins:", spent > 0.1 and spent > 20 * idle)
PY
"$T/venv/bin/python" "$T/spins.py" "$T/socket" | tee "$T/seen"
diff "$T/seen" - <<'SEEN'
plain, non-blocking: EAGAIN
writable according to select: True
gevent 26.9.0
spins: True
SEEN
