#!/usr/bin/env bash
# asyncio of Python 3.11: TCP_NODELAY of connections to a listening socket that the program has made itself.
#
# Guess: asyncio switches Nagle's algorithm off for every TCP connection (since Python 3.6), so a reply that is written in
#        two parts, such as head and body of HTTP, arrives at once.
# Seen:  only for sockets whose `proto` is IPPROTO_TCP. socket.create_server() makes one with proto 0, as socket.socket()
#        does, and connections that are accepted from it have proto 0, too: TCP_NODELAY stays off for a server that is
#        started with `sock=`, and the second part of each reply on a kept connection waits some 40 ms for the client's
#        delayed acknowledgement. With host and port instead, getaddrinfo() gives proto 6, and nothing waits. Set
#        TCP_NODELAY on the listening socket: Linux passes it on.
#
# Needs python3. Exit status 0: as described; 1: not so any more.
set -euo pipefail
python3 - <<'PY'
import asyncio, platform, socket, sys, threading, time

ROUNDS = 10
print(f"Python {platform.python_version()}, Linux {platform.release()}")


async def reply(reader, writer):
    try:
        while await reader.readexactly(1):
            writer.write(b"head")
            await asyncio.sleep(0)
            writer.write(b"body")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def asked(server):
    """Milliseconds of a reply on a kept connection, the median."""
    address = server.sockets[0].getsockname()

    def ask():
        times = []
        with socket.create_connection(address) as client:
            for _ in range(ROUNDS):
                began_s = time.monotonic()
                client.sendall(b"?")
                got = b""
                while len(got) < 8:
                    got += client.recv(100)
                times.append((time.monotonic() - began_s) * 1000)
        return sorted(times)[ROUNDS // 2]

    async with server:
        return await asyncio.to_thread(ask)


async def main():
    made = await asked(await asyncio.start_server(reply, sock=socket.create_server(("127.0.0.1", 0))))
    named = await asked(await asyncio.start_server(reply, "127.0.0.1", 0))
    told = socket.create_server(("127.0.0.1", 0))
    told.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    set_before = await asked(await asyncio.start_server(reply, sock=told))
    print(f"sock=: {made:.1f} ms; host and port: {named:.1f} ms; sock= with TCP_NODELAY: {set_before:.1f} ms")
    return made > 20 > max(named, set_before)


sys.exit(not asyncio.run(main()))
PY
