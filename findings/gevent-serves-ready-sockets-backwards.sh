#!/usr/bin/env bash
# gevent 26.9.0 on Linux (libev, its default loop): in which order sockets are served that became readable together.
#
# Guess: in the order in which their data arrived, as epoll_wait(2) of a plain Python program reports them: first come,
#        first served.
# Seen:  from last to first, and not of their arrival either: sockets that were served once keep their places in the
#        kernel's list, libev goes through that list backwards, and so each round has the same order whatever
#        arrived first. Greenlets that wait in recv() wake up in it, too. With many busy connections the same ones come
#        last in every turn of the loop, which shows in the slowest replies, not in the median.
#
# Installs the package in a temporary folder and uses socket pairs. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check gevent==26.9.0
cat >"$T/order.py" <<'PY'
import selectors, socket

import gevent
import gevent.socket

ARRIVALS = [[0, 1, 2, 3, 4, 5], [3, 1, 5, 0, 4, 2], [5, 2, 4, 0, 1, 3]]
loop = gevent.get_hub().loop
served, watchers = [], []


def serve(number, near):
    near.recv(1)
    served.append(number)


pairs = [socket.socketpair() for _ in range(6)]
for number, (near, _) in enumerate(pairs):
    watcher = loop.io(near.fileno(), 1)
    watcher.start(serve, number, near)
    watchers.append(watcher)
print("gevent", gevent.__version__, type(loop).__module__.split(".")[1])
for arrival in ARRIVALS:
    served.clear()
    for number in arrival:
        pairs[number][1].send(b"x")
    while len(served) < len(arrival):
        gevent.sleep(0)
    print("arrived", arrival, "served", served)

readers = [gevent.socket.socketpair() for _ in range(6)]
woken = []
greenlets = [gevent.spawn(lambda i, s: (s.recv(1), woken.append(i)), i, near) for i, (near, _) in enumerate(readers)]
gevent.sleep(0)
for number in ARRIVALS[0]:
    readers[number][1].send(b"x")
gevent.joinall(greenlets, timeout=10)
print("greenlets: arrived", ARRIVALS[0], "woken", woken)

plain = [socket.socketpair() for _ in range(6)]
with selectors.EpollSelector() as selector:
    for number, (near, _) in enumerate(plain):
        selector.register(near, selectors.EVENT_READ, number)
    for number in ARRIVALS[1]:
        plain[number][1].send(b"x")
    print("epoll alone: arrived", ARRIVALS[1], "reported", [key.data for key, _ in selector.select(10)])
PY
"$T/venv/bin/python" "$T/order.py" | tee "$T/seen"
diff "$T/seen" - <<'SEEN'
gevent 26.9.0 libev
arrived [0, 1, 2, 3, 4, 5] served [5, 4, 3, 2, 1, 0]
arrived [3, 1, 5, 0, 4, 2] served [5, 4, 3, 2, 1, 0]
arrived [5, 2, 4, 0, 1, 3] served [5, 4, 3, 2, 1, 0]
greenlets: arrived [0, 1, 2, 3, 4, 5] woken [5, 4, 3, 2, 1, 0]
epoll alone: arrived [3, 1, 5, 0, 4, 2] reported [3, 1, 5, 0, 4, 2]
SEEN
