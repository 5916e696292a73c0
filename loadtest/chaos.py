"""`python -m loadtest chaos`: a server under full load to which everything happens at once, and what its clients saw.

Gentle: reloads, scaling, retiring and upgrades. No connection may be closed, every request has exactly one answer, by a
policy not older than the last finished reload. Rough adds what no server survives whole: killed and stopped workers;
then only requests in a killed worker's hands may have to be asked again. Exit status 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtest.crowd import Crowd
from loadtest.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.crowd import Tally

REQUEST = b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=203.0.113.5\nsender=a@example.com\n\n"
POLICY = "acl all sender example.com\naction later 450 4.7.1 version {version}\naccess all later\n"
UPGRADE_TIMEOUT_S = 30.0


class Chaos:
    """What is done to one server."""

    def __init__(self, server: Server, crowd: Crowd, seed: int) -> None:
        """Nothing has happened yet; `seed` makes it happen again."""
        self.server, self.crowd = server, crowd
        self.random = random.Random(seed)
        self.version = 1
        self.done: dict[str, int] = {}

    def reload(self) -> None:
        """A new policy; from the command's return on nothing older may answer."""
        self.version += 1
        self.server.write_policy(POLICY.format(version=self.version))
        if self.server.reload().returncode == 0:
            self.crowd.floor = self.version

    def scale(self) -> None:
        """Some other number of workers."""
        self.server.command("scale", str(self.random.randint(1, 4)))

    def retire(self) -> None:
        """TERM to some worker."""
        self._signal(signal.SIGTERM)

    def upgrade(self) -> None:
        """USR2, and wait for the new master."""
        old = self.server.status()["pid"]
        os.kill(old, signal.SIGUSR2)
        until = time.monotonic() + UPGRADE_TIMEOUT_S
        while time.monotonic() < until and self.server.status()["pid"] == old:
            time.sleep(0.02)

    def kill(self) -> None:
        """KILL to some worker."""
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """STOP to some worker, CONT a moment later."""
        pid = self._signal(signal.SIGSTOP)
        time.sleep(0.3)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def run(self, seconds: float, happenings: Sequence[Callable[[], None]]) -> None:
        """One thing after the other."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.crowd.is_alive():
            happening = self.random.choice(happenings)
            happening()
            self.done[happening.__name__] = self.done.get(happening.__name__, 0) + 1

    def _signal(self, signum: int) -> int:
        pid = self.random.choice(self.server.worker_pids())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        return pid


def run(seconds: float, connections: int, seed: int, *, rough: bool) -> dict[str, Any]:
    """One run; what happened, what the clients saw, and which promises were broken."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="forkpolicy-chaos-") as name:
        Path(name).chmod(0o755)
        server = Server(Path(name) / "server", POLICY.format(version=1), workers=2, decisions="none")
        server.start()
        crowd = Crowd(server.socket_path, REQUEST, connections)
        chaos = Chaos(server, crowd, seed)
        crowd.start()
        began_s = time.monotonic()
        gentle = [chaos.reload, chaos.scale, chaos.retire, chaos.upgrade]
        try:
            chaos.run(seconds, [*gentle, chaos.kill, chaos.pause] if rough else gentle)
            tally = crowd.finish()
            took_s = time.monotonic() - began_s
        finally:
            said = server.said()
            server.command("stop")
            server.process = None
    return {"seed": seed, "done": chaos.done, **_seen(tally, took_s), "broken": _broken(tally, said, rough=rough)}


def _seen(tally: Tally, took_s: float) -> dict[str, Any]:
    return {
        "sent": tally.sent,
        "answered": tally.answered,
        "asked_again": tally.asked_again,
        "closed_idle": tally.closed_idle,
        "refused_connects": tally.refused_connects,
        "requests_per_s": round(tally.sent / took_s),
        "latency_us": {f"p{share}": tally.latency.percentile(share) for share in (50, 99, 99.9)},
    }


def _broken(tally: Tally, said: str, *, rough: bool) -> list[str]:
    broken = [f"a wrong reply: {each}" for each in tally.wrong[:5]]
    if tally.answered != tally.sent:
        broken.append(f"{tally.sent - tally.answered} requests were never answered")
    if tally.outdated:
        broken.append(f"{tally.outdated} replies by a policy older than the last finished reload")
    if not rough and tally.asked_again + tally.closed_idle:
        broken.append(f"{tally.asked_again} connections closed in use, {tally.closed_idle} idle ones")
    if "event=bug" in said:
        broken.append("a bug: " + next(line for line in said.splitlines() if "event=bug" in line))
    return broken


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m loadtest chaos", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--connections", type=int, default=500, help="how many (default: 500)")
    parser.add_argument("--seed", type=int, default=1, help="what happens when (default: 1)")
    parser.add_argument("--rough", action="store_true", help="workers are killed and stopped, too")
    arguments = parser.parse_args(argv)
    report = run(arguments.seconds, arguments.connections, arguments.seed, rough=arguments.rough)
    print(json.dumps(report, indent=2))
    return 1 if report["broken"] else 0
