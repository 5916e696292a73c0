"""A worker's life: from the fork to its last connection. The only place where the worker's parts are put together.

After the fork: signals, tables, counters, the link to the master, then accepting. It ends when the master says so
(stop, or retire: hand every connection over to siblings first), when the master dies (the end of the link), or by a
signal TERM, which is the operator's way to say retire, or by its own age (max_requests, max_memory). Everything
waits in one gevent loop; the beat of that loop is the proof of life.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import resource
import signal
import socket
import time
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event
from setproctitle import setproctitle

from forkpolicy import link
from forkpolicy.process import SIGNALS_OF_MASTER
from forkpolicy.scoreboard import LEAVING_SOON, STAYING
from forkpolicy.tables.keys import fold_domain
from forkpolicy.worker.accept import BACK_OFF_S, Acceptor, Turnstile
from forkpolicy.worker.age import Age
from forkpolicy.worker.allow import Allowed
from forkpolicy.worker.balance import Balance
from forkpolicy.worker.connection import Connection
from forkpolicy.worker.counting import Flusher
from forkpolicy.worker.exchange import Exchange
from forkpolicy.worker.limit import Peers, peer_of
from forkpolicy.worker.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forkpolicy.link import Message
    from forkpolicy.loading import Loaded
    from forkpolicy.log import LogPipe
    from forkpolicy.scoreboard import Scoreboard
    from forkpolicy.worker.exchange import Pair

READ = 1
BEAT_S = 0.5
# Descriptors that are not connections: sockets, pipes, tables of two generations.
SPARE_DESCRIPTORS = 32
# Given connections are for siblings with less: the worker that gives sees them first, and has to wait for the others.
STEPS_ASIDE_GIVEN = 5
# Between two attempts of a worker that retires to give away what is left.
RETIRE_PAUSE_S = 0.005
# How long a stopping worker waits for a request that is half here, or a reply that is half gone.
STOP_PATIENCE_S = 5.0


def preload() -> None:
    """Import what gevent imports when its hub is made, and idna with the first name that needs it. In the master:
    the memory is shared, and a worker that has given up its privileges may not be allowed to read the files of the
    interpreter any more. Makes no hub.
    """
    for name in ("loop", "format_context", "threadpool", "resolver"):
        getattr(gevent.config, name)
    fold_domain("b\u00fccher.example")


class WorkerProcess:
    """One worker. `listeners`, `exchange` and `scoreboard` are shared with its siblings."""

    def __init__(
        self,
        loaded: Loaded,
        generation: int,
        slot_number: int,
        listeners: Iterable[socket.socket],
        master: socket.socket,
        exchange: tuple[Pair, Pair],
        scoreboard: Scoreboard,
        log: LogPipe,
    ) -> None:
        self.log = log
        self.serving = Serving(loaded, generation, log)
        self.scoreboard = scoreboard
        self.slot = scoreboard.slot(slot_number)
        self.connections: set[Connection] = set()
        self.peers = Peers()
        self.exchange, self.hot_exchange = Exchange(*exchange[0]), Exchange(*exchange[1])
        self.balance = Balance(scoreboard, self.slot, self._give)
        self.age = Age(slot_number)
        self._allowed_networks: tuple[str, ...] = ()
        self._allows = Allowed(())
        self.done = Event()
        self.leaving = False
        self.stopping = False
        self._master = master
        self._decoder = link.Decoder()
        self._unsent = b""
        self._told_state: dict[str, object] = {}
        self._hub = gevent.get_hub()
        # Where a watcher's callback raises: into the log, and on, since the next request is none of its business.
        self._hub.print_exception = self._bug  # type: ignore[method-assign,assignment]  # its hook
        self._limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        acceptors = [
            Acceptor(listener, self._accepted, self.balance.has_its_share, self._accept_failed)
            for listener in listeners
        ]
        self._entrances: list[Acceptor | Turnstile] = [
            *acceptors,
            self._taker(self.exchange, self.balance.has_its_connections),
            self._taker(self.hot_exchange, self.balance.has_its_load),
        ]
        self._link_watcher = self._hub.loop.io(master.fileno(), READ)
        self._beat_timer = self._hub.loop.timer(0.0, BEAT_S)
        self._term_watcher = self._hub.loop.signal(signal.SIGTERM)

    def run(self) -> None:
        """Serve until it is over."""
        self._set_signals()
        # What was loaded before the fork is never garbage here: leave it out of every collection, and shared.
        gc.freeze()
        setproctitle(f"forkpolicy: worker {self.slot.number}")
        self.serving.open_tables()
        self.flusher = Flusher(self.serving, self.slot, self.log)
        self.slot["connections"] = self.slot["load"] = 0
        self.slot["pid"] = os.getpid()
        self.slot["started_ns"] = time.monotonic_ns()
        self._link_watcher.start(self._master_speaks)
        self._beat_timer.start(self._beat)
        self._term_watcher.start(self._terminated)
        self.slot["serving"] = STAYING
        for entrance in self._entrances:
            entrance.start()
        self._say({"is": "ready", "state": self._state()})
        self.done.wait()
        self.flusher.flush()

    def _set_signals(self) -> None:
        # HUP and its like are the master's: `pkill -HUP forkpolicy` means one reload, not the death of every worker.
        for signum in SIGNALS_OF_MASTER:
            if signum != signal.SIGTERM:
                signal.signal(signum, signal.SIG_IGN)
        # Descriptor 2, whatever Python thinks of sys.stderr: the master reads it.
        faulthandler.enable(file=2, all_threads=True)
        faulthandler.register(signal.SIGQUIT, file=2, all_threads=True)

    def _bug(self, _context: object, _kind: object, error: BaseException | str | None, _trace: object) -> None:
        if isinstance(error, Exception):
            self.serving.bug(error)

    # Connections

    def _accepted(self, sock: socket.socket) -> None:
        if not self._allowed().admits(sock):
            self.serving.log_seldom("warning", "peer refused", f"{peer_of(sock)} is not in server.allow")
            sock.close()
            return
        sock.setblocking(False)
        self.slot.add("accepted", 1)
        self._serve(sock, b"")

    def _serve(self, sock: socket.socket, pending: bytes) -> None:
        server = self.serving.loaded.settings.server
        connection = Connection(
            sock,
            self.serving,
            self._closed,
            idle_timeout_s=server.idle_timeout,
            max_request_bytes=server.max_request,
            pending=pending,
        )
        if len(self.connections) >= server.max_connections:
            self._make_room()
        self.connections.add(connection)
        self.peers.add(connection, sock)
        self.slot["connections"] = len(self.connections)
        connection.start()

    def _allowed(self) -> Allowed:
        networks = self.serving.loaded.settings.server.allow
        if networks != self._allowed_networks:
            self._allowed_networks, self._allows = networks, Allowed(networks)
        return self._allows

    def _make_room(self) -> None:
        found = self.peers.to_close()
        if found is None:
            # All of them are being answered at this very moment: one more does no harm.
            return
        connection, peer, count = found
        reason = f"max_connections is reached; {peer} has {count}"
        self.serving.log_seldom("warning", "connection closed for another", reason, connections=len(self.connections))
        connection.close()

    def _closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.peers.remove(connection)
        self.slot["connections"] = len(self.connections)

    def _accept_failed(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        self.serving.log_seldom("error", "cannot accept", reason, connections=len(self.connections))

    def _taker(self, exchange: Exchange, has_its_share: Callable[[], bool]) -> Turnstile:
        def take() -> None:
            if len(self.connections) + SPARE_DESCRIPTORS >= self._limit:
                # A descriptor that arrives where none is free is closed by the kernel: leave it to a sibling.
                turnstile.pause(BACK_OFF_S)
                return
            given = exchange.take()
            if given:
                self.slot.add("taken", 1)
                self.balance.took(given.load)
                sock = socket.socket(fileno=given.fd)
                sock.setblocking(False)
                self._serve(sock, given.pending)

        turnstile = Turnstile(exchange.fileno(), take, has_its_share, STEPS_ASIDE_GIVEN)
        return turnstile

    def _give(self, connection: Connection, load: int, hot: bool) -> bool:
        """Pass a connection to a sibling; False: not now, it is served here as before."""
        if connection.unsent or connection.closed:
            return False
        exchange = self.hot_exchange if hot else self.exchange
        if not exchange.give(connection.fileno(), connection.pending, load):
            return False
        fd, _ = connection.detach()
        socket.close(fd)
        self._closed(connection)
        self.slot.add("given", 1)
        return True

    # The master

    def _say(self, message: Message) -> None:
        self._unsent += link.encode(message)
        try:
            self._unsent = self._unsent[self._master.send(self._unsent) :]
        except BlockingIOError:
            return  # the beat tries again
        except OSError:
            self._master_died()

    def _master_speaks(self) -> None:
        try:
            data = self._master.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._master_died()
        for message in self._decoder.feed(data):
            # In a greenlet: preparing waits for a thread, and leaving waits for connections.
            gevent.spawn(self._obey, message)

    def _master_died(self) -> None:
        # Nothing is left to coordinate with; who starts the next master will find the socket stale.
        os._exit(0)

    def _obey(self, message: Message) -> None:
        what = message["do"]
        if what == "prepare":
            generation = message["generation"]
            complaints = self.serving.prepare(message["snapshot"])
            self._say({"is": "prepared", "generation": generation, "complaints": complaints})
        elif what == "commit":
            self.flusher.flush()
            self.serving.commit(message["generation"])
            self._say({"is": "committed", "generation": message["generation"], "state": self._state()})
        elif what == "abort":
            self.serving.abort()
        elif what == "retire":
            self.retire(others_wait=message["others_wait"])
        else:
            self.stop()

    def _state(self) -> dict[str, object]:
        self._told_state = self.serving.describe()
        return self._told_state

    def _beat(self) -> None:
        self.slot["beat_ns"] = time.monotonic_ns()
        self.flusher.flush()
        self.serving.refresh_tables()
        self.serving.sample_next()
        if not self.leaving:
            self.balance.beat(self.connections)
            self._retire_for_age()
        if self._told_state != self.serving.describe():
            self._say({"is": "state", "state": self._state()})
        elif self._unsent:
            self._say_rest()

    def _say_rest(self) -> None:
        rest, self._unsent = self._unsent, b""
        try:
            self._unsent = rest[self._master.send(rest) :]
        except BlockingIOError:
            self._unsent = rest

    # The end

    def _terminated(self) -> None:
        self._retire_because("signal TERM")

    def _retire_for_age(self) -> None:
        reason = self.age.reason_to_go(self.serving.loaded.settings.server, self.serving.counters.requests)
        if reason:
            self._retire_because(reason)

    def _retire_because(self, reason: str) -> None:
        if not self.leaving:
            self._say({"is": "retiring", "reason": reason})
            gevent.spawn(self.retire)

    def retire(self, *, others_wait: bool = False) -> None:
        """Hand every connection over to the siblings and end. Until one can go it is served here as before.
        `others_wait`: those of another master, whom our scoreboard does not know.
        """
        if self.leaving:
            return
        self.leaving = True
        self.slot["serving"] = LEAVING_SOON
        # The last worker waits for a successor and serves meanwhile: a connection on its way is one that waits.
        while not (others_wait or self.scoreboard.somebody_stays()) and not self.stopping:
            gevent.sleep(RETIRE_PAUSE_S)
        self._take_no_more()
        while self.connections and not self.stopping:
            for connection in list(self.connections):
                self._give(connection, 0, False)
            # For room in the exchange, or a client that does not read its reply.
            gevent.sleep(RETIRE_PAUSE_S)
        if not self.stopping:
            self.done.set()

    def stop(self) -> None:
        """Answer what is here, close every connection, end."""
        if self.stopping:
            return
        self.stopping = self.leaving = True
        self._take_no_more()
        deadline_s = time.monotonic() + STOP_PATIENCE_S
        # Once round the loop: what has arrived by now is read and answered.
        gevent.sleep(0.01)
        while self.connections:
            late = time.monotonic() > deadline_s
            for connection in [each for each in self.connections if late or (each.idle and not each.readable)]:
                connection.close()
            gevent.sleep(0.01)
        self.done.set()

    def _take_no_more(self) -> None:
        if not self.slot["serving"]:
            return
        self.slot["serving"] = 0
        setproctitle(f"forkpolicy: worker {self.slot.number}, leaving")
        for entrance in self._entrances:
            entrance.stop()
