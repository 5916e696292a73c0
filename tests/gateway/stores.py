"""A real store for tests: `forkpolicy held serve` in a directory of its own; a policy server; a client of LMTP."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class Store:
    """`forkpolicy held serve` below `base`. `more`: lines of [store] in gateway.toml. `others`: further sections."""

    def __init__(self, base: Path, more: str = "", others: str = "", room: str = "1K", mail_log: str = "") -> None:
        self.base = base
        self.sockets = base / "private"
        self.path = base / "held"
        self.sockets.mkdir(exist_ok=True)
        self.settings = base / "gateway.toml"
        self.api = str(base / "api.sock")
        if "[release]" not in others:
            # Where nobody listens.
            others += '\n[release]\nsmtp = "127.0.0.1:1"\n'
        self.settings.write_text(
            f'[store]\npath = "held"\nsockets = "private"\napi = "api.sock"\npolicy = "private/policy"\n'
            f'mail_log = "{mail_log}"\nmin_free = "{room}"\n{more}\n{others}\n'
        )
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start, and wait until it takes mail."""
        command = [sys.executable, "-m", "forkpolicy", "held", "-c", str(self.settings), "serve"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        assert "takes mail" in line, line + self.process.stderr.read()

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it by TERM; its status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        status = self.process.wait(20)
        self.process.stderr.close()
        self.process = None
        return status

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """What is in held.db."""
        with contextlib.closing(sqlite3.connect(self.path / "held.db")) as connection:
            return connection.execute(query, values).fetchall()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.stop()


class PolicyServer:
    """Replies to each request as `reply(attributes)` says: the text behind `action=`; None: nothing at all."""

    def __init__(self, path: Path, reply) -> None:
        self.requests: list[dict[str, str]] = []
        self._reply = reply
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._socket.accept()[0]
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as file:
            attributes: dict[str, str] = {}
            for raw in file:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                if line:
                    name, _, value = line.partition("=")
                    attributes[name] = value
                    continue
                self.requests.append(attributes)
                action = self._reply(attributes)
                attributes = {}
                if action is not None:
                    file.write(f"action={action}\n\n".encode())
                    file.flush()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class LmtpClient:
    """The other side of LMTP, byte by byte."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")
        assert self.reply().startswith("220")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def reply(self) -> str:
        """One reply, of several lines perhaps."""
        lines = []
        while True:
            line = self._file.readline().decode().rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def ask(self, command: str) -> str:
        """Send a command; its reply."""
        self._socket.sendall(command.encode() + b"\r\n")
        return self.reply()

    def send(self, sender: str, recipients: list[str], data: bytes, queue_id: str = "4Xq1") -> list[str]:
        """Deliver a mail; the status of each recipient. `data`: as on the wire, dots not doubled, ends with CR LF."""
        assert self.ask("LHLO gateway").startswith("250")
        assert self.ask(f"XFORWARD NAME=mail.example.org ADDR=203.0.113.9 HELO=mail IDENT={queue_id}").startswith("250")
        first = self.ask(f"MAIL FROM:<{sender}>")
        if not first.startswith("250"):
            return [first]
        for each in recipients:
            assert self.ask(f"RCPT TO:<{each}>").startswith("250")
        assert self.ask("DATA").startswith("354")
        self._socket.sendall(data.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return [self.reply() for _ in recipients]
