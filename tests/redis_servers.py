"""Debian's redis-server, started by a test on a UNIX socket or on loopback, and ended by it."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path

import pytest

from forkpolicy.redis_urls import parse_url
from forkpolicy.state.redis.access import Access
from forkpolicy.state.redis.store import RedisStore

PROGRAM = shutil.which("redis-server") or ""
needs_redis = pytest.mark.skipif(not PROGRAM, reason="redis-server is not installed")

# Tests set the clock of scripts: by a key, and what has expired by it the engine keeps for a hundred years more.
AHEAD_S = 100 * 365 * 86400
CLOCK = f"local now, ahead = tonumber(redis.call('GET', 'clock')), {AHEAD_S}\n"


# A cluster's bus has the port that is so far above a node's.
BUS = 10_000


class RedisServer:
    """One server in a directory; without `port` on the socket in it. It is ready when this returns."""

    def __init__(self, directory, *options, port=0):
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.port, self.socket = port, str(self.directory / "redis.sock")
        self._options = options
        self.process = None
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.socket}"

    def start(self):
        place = ["--port", str(self.port), "--bind", "127.0.0.1"] if self.port else ["--port", "0"]
        command = [
            PROGRAM,
            *place,
            "--unixsocket",
            self.socket,
            "--unixsocketperm",
            "777",
            "--dir",
            str(self.directory),
            "--save",
            "",
        ]
        self.process = subprocess.Popen(
            [*command, *self._options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "eady to accept connections" in line:
                break
        else:
            self.process.wait()
            self.process.stdout.close()
            raise AssertionError("".join(lines))
        # It must never wait for somebody to read what it logs.
        self._logged = threading.Thread(target=self.process.stdout.read, daemon=True)
        self._logged.start()

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self._logged.join()
            self.process.stdout.close()
            self.process = None

    def access(self, **more):
        return Access(parse_url(more.pop("url", self.url)), **more)


@cache
def shared_server():
    """One server on a UNIX socket for all tests of this process that want an empty engine."""
    if not PROGRAM:
        pytest.skip("redis-server is not installed (tests/servers.sh)")
    directory = tempfile.mkdtemp(prefix="forkpolicy-redis-")
    server = RedisServer(directory)
    atexit.register(shutil.rmtree, directory)
    atexit.register(server.stop)
    return server


class ClockedStore(RedisStore):
    """A store in an engine whose scripts have the clock of a test."""

    def __init__(self, access, clock):
        super().__init__(access, CLOCK)
        self._clock = clock
        self.url = str(access.url)

    def run(self, command):
        self._client.set("clock", repr(float(self._clock())))
        return super().run(command)

    def now_s(self):
        return float(self._clock())

    def describe(self):
        figures = super().describe()
        return figures._replace(entries=figures.entries - self._client.exists("clock"))


def clocked_store(clock):
    """An empty one in the shared server."""
    server = shared_server()
    store = ClockedStore(server.access(), clock)
    store._client.flushall()
    return store
