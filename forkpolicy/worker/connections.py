"""The connections that a worker holds: where they come from (accepted, or taken over from a sibling) and where they
go (closed, or given to a sibling). Counts them in the worker's slot, which is how siblings see them.

Called by the entrances (accept.py), by the balance, and by the end of a worker (shutdown.py). Raises nothing.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from typing import TYPE_CHECKING

from forkpolicy.worker.allow import Allowed
from forkpolicy.worker.connection import Connection
from forkpolicy.worker.handover import MAX_PENDING_BYTES, HandoverChannel, Receipt, UnknownVersionError
from forkpolicy.worker.limit import Peers, peer_of
from forkpolicy.worker.readiness import Readiness

if TYPE_CHECKING:
    from forkpolicy.scoreboard import Slot
    from forkpolicy.worker.engine import Engine
    from forkpolicy.worker.handover import Handover, Pair

# Descriptors that stay free for what is not a connection, such as new tables.
SPARE_DESCRIPTORS = 32
# A message that was put back is left to another worker for so long.
PUT_BACK_PAUSE_S = 0.5


class Connections:
    """Those of one worker. `handover_pairs` are the pair for many and the pair for busy ones."""

    def __init__(self, engine: Engine, slot: Slot, handover_pairs: tuple[Pair, Pair]) -> None:
        self.held: set[Connection] = set()
        self.handover, self.hot_handover = (HandoverChannel(*pair) for pair in handover_pairs)
        self.receipt = Receipt()
        self._engine = engine
        self._readiness = Readiness()
        self._slot = slot
        self._peers = Peers()
        self._allowed_networks: tuple[str, ...] = ()
        self._allows = Allowed(())
        self._takes_from_s = 0.0

    def accepted(self, sock: socket.socket) -> None:
        """Serve a new one, if its peer may ask and does not hold too many."""
        peer, most = peer_of(sock), self._engine.loaded.settings.server.max_connections
        if not self._allowed().admits(sock):
            self._refuse(sock, "allow", f"{peer} is not in server.allow")
        elif self._peers.has_its_share(peer, most):
            why = f"{peer} has half of server.max_connections ({most}), which is all that one may have"
            self._refuse(sock, "share", why)
        else:
            self._slot.add("accepted", 1)
            self._serve(sock)

    def has_room(self) -> bool:
        """Whether one more may be accepted. Where not, it waits in the queue for a sibling, or for one to close."""
        most = self._engine.loaded.settings.server.max_connections
        if len(self.held) < most:
            return True
        self._engine.seldom_log.event(
            "warning", "connection limit reached", f"server.max_connections ({most}) is reached"
        )
        return False

    def accept_failed(self, error: OSError) -> None:
        """Log why none could be accepted."""
        reason = error.strerror or str(error)
        self._engine.seldom_log.event("error", "cannot accept", reason, connections=len(self.held))

    def has_descriptors(self) -> bool:
        """Whether one more may be taken over: where none is free, the kernel closes what arrives. Tried, not
        calculated: the limit may have been changed, and tables have descriptors, too.
        """
        if time.monotonic() < self._takes_from_s:
            return False
        try:
            free = os.dup(self.handover.fileno())
        except OSError:
            return False
        os.close(free)
        return free + SPARE_DESCRIPTORS < resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def take(self, channel: HandoverChannel) -> Handover | None:
        """Take over one that a sibling gave away; None if none waits."""
        try:
            handover = channel.take()
        except UnknownVersionError as error:
            self._takes_from_s = time.monotonic() + PUT_BACK_PAUSE_S
            self._engine.seldom_log.event("error", "connection not taken over", str(error))
            return None
        if handover:
            self._slot.add("taken", 1)
            self._serve(socket.socket(fileno=handover.fd), handover.unsent, handover.pending)
        return handover

    def give(self, connection: Connection, load: int, hot: bool) -> bool:
        """Pass one to a sibling; False: not now, it is served here as before."""
        channel, unsent, pending = self.hot_handover if hot else self.handover, connection.unsent, connection.pending
        if connection.closed or connection.waits or not channel.fits(unsent, pending):
            return False
        if not channel.give(connection.fileno(), unsent, pending, self.receipt, load):
            return False
        socket.close(connection.detach())
        self._forget(connection)
        self._slot.add("given", 1)
        return True

    def give_all(self) -> None:
        """Pass on as many as there is room for."""
        for connection in list(self.held):
            if self._passes(connection) and not connection.waits and not self.give(connection, 0, False):
                return

    def close_what_cannot_go(self) -> None:
        """Close those that can only be served here, until their clients go on."""
        for connection in [each for each in self.held if not self._passes(each)]:
            why = f"the worker leaves, and more than {MAX_PENDING_BYTES} bytes of a request have come without its end"
            self._engine.seldom_log.event("warning", "connection closed", why)
            connection.close()

    def _passes(self, connection: Connection) -> bool:
        return self.handover.fits(connection.unsent, connection.pending)

    def _refuse(self, sock: socket.socket, cause: str, why: str) -> None:
        self._engine.seldom_log.event("warning", "peer refused", why, key=cause)
        sock.close()

    def _serve(self, sock: socket.socket, unsent: bytes = b"", pending: bytes = b"") -> None:
        sock.setblocking(False)
        server = self._engine.loaded.settings.server
        connection = Connection(
            sock,
            self._engine,
            self._readiness,
            self._forget,
            idle_timeout_s=server.idle_timeout,
            max_request_bytes=server.max_request,
            unsent=unsent,
            pending=pending,
        )
        self.held.add(connection)
        self._peers.add(connection, sock)
        self._slot["connections"] = len(self.held)
        connection.start()

    def _forget(self, connection: Connection) -> None:
        self.held.discard(connection)
        self._peers.remove(connection)
        self._slot["connections"] = len(self.held)

    def _allowed(self) -> Allowed:
        networks = self._engine.loaded.settings.server.allow
        if networks != self._allowed_networks:
            self._allowed_networks, self._allows = networks, Allowed(networks)
        return self._allows
