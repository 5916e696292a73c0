#!/usr/bin/env bash
# asyncio of Python 3.13.5 (Debian 13): a UNIX socket that another process has bound and passes, as systemd does.
#
# Guess: create_unix_server(sock=...) serves on it and leaves its file alone, as up to 3.12: who has bound it removes it.
# Seen:  since 3.13 the server removes the file when it is closed (cleanup_socket, on by default), also for a socket that
#        was passed. Under systemd the unit's socket goes on listening, and its path leads nowhere: no client reaches
#        it until the socket unit is started again. Where the process may not look into the directory, the server does
#        not start at all. create_server(sock=...) serves on the same socket and removes nothing.
#
# Needs Python 3.13 or newer: PYTHON=FILE, or python3 of Debian 13. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cat >"$T/serve.py" <<'PY'
import asyncio, os, socket, sys

PATH = sys.argv[1]


async def stays(name):
    """Whether the file is there when the server has ended."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(PATH)
        bound.listen()
        server = await getattr(asyncio.get_running_loop(), name)(asyncio.Protocol, sock=bound.dup())
        server.close()
        await server.wait_closed()
        there = os.path.exists(PATH)
        if there:
            os.unlink(PATH)
    return there


print("Python", sys.version.split()[0])
found = {name: asyncio.run(stays(name)) for name in ("create_unix_server", "create_server")}
for name, there in found.items():
    print(f"{name}: the file {'stays' if there else 'is gone'}")
sys.exit(found != {"create_unix_server": False, "create_server": True})
PY
"${PYTHON:-python3}" "$T/serve.py" "$T/socket"
