"""What is reported to systemd (sd_notify(3)): READY, RELOADING, STOPPING, STATUS, WATCHDOG, MAINPID. Silent without
NOTIFY_SOCKET.

A datagram of text is all that the protocol is. Never raises: a manager that does not listen is not our trouble.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time


class Notifier:
    """Sends to the manager's socket, when there is one."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        watchdog_us = os.environ.get("WATCHDOG_USEC", "")
        # Twice as often as the manager wants it, as sd_watchdog_enabled(3) advises.
        self._watchdog_s = int(watchdog_us) / 2e6 if watchdog_us.isdigit() else None
        self._watchdog_at_s = 0.0

    def ready(self, status: str) -> None:
        """Every worker serves."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def replaced_by(self, pid: int) -> None:
        """Another master serves; only the previous one may report it. It feeds the watchdog once more with that: what
        the other one has sent so far was dropped (NotifyAccess=main), and its next one comes half the time later.
        """
        self._send(f"MAINPID={pid}\nWATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def watchdog(self, now_s: float) -> None:
        """The workers' loops turn: report it when it is due."""
        if self._watchdog_s and now_s >= self._watchdog_at_s:
            self._send("WATCHDOG=1")
            self._watchdog_at_s = now_s + self._watchdog_s

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # A leading @ is an abstract address.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), address)
