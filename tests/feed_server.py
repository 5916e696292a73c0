"""A server of feeds on loopback, by TLS: raw answers that a test writes, byte by byte what is sent.

`FeedServer` is what tests use. Run as a program, this file is the server: a process of its own, since a compile forks.
It answers `GET /NAME` with the file NAME of its directory as it stands, and then ends the connection. For a file
NAME.cut it leaves the end of TLS out. Of NAME.drip it goes on to send one byte in a twentieth of a second, of the body,
or of a head that has no end. Each request head is one file `requests/N`, written before the answer is sent.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s"


class FeedServer:
    """One server. `certificate`: what `trustme` issued, or None for one of `localhost` and 127.0.0.1."""

    def __init__(self, directory: Path, authority, certificate=None):
        self.directory = directory
        (directory / "requests").mkdir(parents=True)
        issued = certificate or authority.issue_cert("localhost", "127.0.0.1")
        chain = directory / "chain.pem"
        chain.write_bytes(issued.private_key_pem.bytes() + b"".join(each.bytes() for each in issued.cert_chain_pems))
        self.authority = directory / "authority.pem"
        authority.cert_pem.write_to_path(self.authority)
        self.process = None
        self.start()

    def start(self, port=0):
        command = [sys.executable, __file__, str(self.directory), str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def url(self, name="list", host="localhost"):
        return f"https://{host}:{self.port}/{name}"

    def raw(self, content: bytes, name="list", how=""):
        """Answer with these bytes from now on. `how`: "cut" or "drip"."""
        for each in ("", ".cut", ".drip"):
            (self.directory / f"{name}{each}").unlink(missing_ok=True)
        aside = self.directory / "aside"
        aside.write_bytes(content)
        aside.rename(self.directory / f"{name}{'.' * bool(how)}{how}")

    def send(self, body: str | bytes, *headers: str, name="list"):
        """Answer with a list."""
        body = body if isinstance(body, bytes) else body.encode()
        self.raw(ANSWER % (len(body), b"".join(f"{each}\r\n".encode() for each in headers), body), name)

    def status(self, line: str, *headers: str, name="list"):
        """Answer with a status and no body."""
        lines = [f"HTTP/1.1 {line}", *headers, "Content-Length: 0"]
        self.raw("\r\n".join([*lines, "", ""]).encode(), name)

    def requests(self) -> list[str]:
        """The heads of all requests so far."""
        files = sorted((self.directory / "requests").iterdir(), key=lambda path: int(path.name))
        return [path.read_text() for path in files]


def expired(authority):
    """A certificate that was valid until yesterday."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    return authority.issue_cert("localhost", not_after=yesterday)


def _serve(directory: Path, port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "chain.pem")
    numbers = itertools.count(len(list((directory / "requests").iterdir())))
    with socket.create_server(("127.0.0.1", port)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection, context, directory, numbers), daemon=True).start()


def _answer(connection: socket.socket, context: ssl.SSLContext, directory: Path, numbers) -> None:
    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (more := tls.recv(4096)):
                return
            head += more
        (directory / "requests" / str(next(numbers))).write_bytes(head)
        path = directory / head.split()[1].decode().lstrip("/").partition("?")[0]
        how = next((each for each in ("", ".cut", ".drip") if Path(f"{path}{each}").exists()), "")
        content = Path(f"{path}{how}").read_bytes()
        if how == ".drip":
            begin, blank, body = content.partition(b"\r\n\r\n")
            tls.sendall(begin + blank)
            for each in itertools.cycle(body or b"x"):
                tls.sendall(bytes([each]))
                if select.select([tls], [], [], 0.05)[0]:
                    return
        tls.sendall(content)
        if how != ".cut":
            tls.unwrap()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
    os._exit(0)
