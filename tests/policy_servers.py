"""Policy servers of other projects as Debian has them, each started by a test and ended by it."""

from __future__ import annotations

import os
import pwd
import selectors
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

POSTGREY = shutil.which("postgrey", path=f"{os.environ['PATH']}:/usr/sbin") or ""
POLICYD_SPF = shutil.which("policyd-spf") or ""


def has_user(name):
    """Whether this machine knows a user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


needs_postgrey = pytest.mark.skipif(
    not (POSTGREY and has_user("postgrey") and os.geteuid() == 0),
    reason="postgrey is not installed, or this is not root, who alone can start it as its user",
)
needs_policyd_spf = pytest.mark.skipif(not POLICYD_SPF, reason="policyd-spf is not installed")


class Postgrey:
    """One postgrey on a UNIX socket with a database of its own. It is ready when this returns."""

    def __init__(self, directory, *options):
        self.directory = Path(directory)
        self.directory.mkdir(mode=0o755)
        shutil.chown(self.directory, "postgrey")
        self.socket = self.directory / "socket"
        self._options = options
        self.start()

    def start(self):
        nothing = ("--whitelist-clients=/dev/null", "--whitelist-recipients=/dev/null")
        places = (f"--unix={self.socket}", f"--dbdir={self.directory}")
        self.process = subprocess.Popen(
            [POSTGREY, *places, *nothing, *self._options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "Setting uid" in line:
                break
        else:
            raise AssertionError("".join(lines))
        # It must never wait for somebody to read what it logs.
        self._reader = threading.Thread(target=self.process.stdout.read)
        self._reader.start()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()


class Spawned:
    """A program that serves its standard input, a process for each connection, as spawn(8) has it."""

    def __init__(self, path, *command):
        self.path, self._command = path, command
        self.processes = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o666)
        self._listener.listen(50)
        self._ours, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while all(key.fileobj is self._listener for key, _ in selector.select()):
                connection, _ = self._listener.accept()
                with connection:
                    self.processes.append(subprocess.Popen(self._command, stdin=connection, stdout=connection))

    def stop(self):
        self._ours.send(b"x")
        self._thread.join()
        for each in (self._listener, self._ours, self._wake):
            each.close()
        for process in self.processes:
            process.kill()
            process.wait()


class LateServer:
    """Replies when the test says so, in the order of the requests; `asked` has them as they came."""

    def __init__(self, path):
        self.path = path
        self.asked = []
        self._owed = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o666)
        self._listener.listen(500)
        self._ours, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def reply(self, action="DUNNO"):
        """To the oldest request that has no reply yet."""
        connection, raw = self._owed.pop(0)
        self.asked.append(raw)
        connection.sendall(f"action={action}\n\n".encode())

    @property
    def waiting(self):
        """How many have no reply yet."""
        return len(self._owed)

    def _serve(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._wake:
                        for each in list(selector.get_map().values()):
                            each.fileobj.close()
                        return
                    if key.fileobj is self._listener:
                        selector.register(self._listener.accept()[0], selectors.EVENT_READ)
                    elif raw := key.fileobj.recv(65536):
                        self._owed.append((key.fileobj, raw))
                    else:
                        selector.unregister(key.fileobj)
                        key.fileobj.close()

    def stop(self):
        self._ours.close()
        self._thread.join()


def ask(path, *requests):
    """The replies of a server to requests on one connection."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(path))
        replies = []
        with sock.makefile("rb") as stream:
            for request in requests:
                sock.sendall(request)
                replies.append(stream.readline().decode().strip().removeprefix("action="))
                assert stream.readline() == b"\n"
    return replies
