"""How a worker ends: by retiring (every connection goes to a sibling) or by stopping (what has arrived is answered,
then connections are closed). A stop ends a retirement.

What has arrived is also what no worker has accepted yet, and what is on its way between two workers. A worker that
gives a connection away stays until it is taken, so the last worker that stops leaves none behind.

Anything can be handed over but a long request that has not come to its end, and one that waits for an answer. The
master bounds how long a worker waits for one: `hurry`. A request that waits is then decided with what is known.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event
from setproctitle import setproctitle

from forkpolicy.scoreboard import LEAVING_SOON

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.scoreboard import Scoreboard, Slot
    from forkpolicy.worker.accept import Acceptor, HandoverReceiver
    from forkpolicy.worker.connections import Connections
    from forkpolicy.worker.waiting import Waiting

# Between two attempts of a worker that retires to give away what is left.
RETIRE_PAUSE_S = 0.005
# How long a stopping worker waits for a request that is half here, or a reply that is half gone.
STOP_PATIENCE_S = 5.0
# How long for an answer: what has come behind a request that waits has to be replied to, too.
STOP_GIVES_UP_S = 4.5
# Between two looks of a worker that stops: for what has arrived to be read, and for new clients to ask.
STOP_PAUSE_S = 0.01
# So many are taken between two looks, lest those before them wait.
DRAINED_A_LOOK = 64


class Shutdown:
    """One worker's end. `begun`: it is on its way. `done` is set when nothing is left to do."""

    def __init__(
        self,
        connections: Connections,
        waiting: Waiting,
        acceptors: Sequence[Acceptor],
        receivers: Sequence[HandoverReceiver],
        scoreboard: Scoreboard,
        slot: Slot,
    ) -> None:
        self.begun = False
        self.done = Event()
        self._stopping = self._hurried = False
        self._others_wait = False
        self._connections = connections
        self._waiting = waiting
        self._acceptors = acceptors
        self._receivers = receivers
        self._scoreboard = scoreboard
        self._slot = slot

    def retire(self, *, others_wait: bool = False) -> None:
        """Hand every connection over to the siblings and end. Until one can go it is served here as before.
        `others_wait`: those of another master, whom our scoreboard does not know. That may be learnt on the way.
        """
        self._others_wait |= others_wait
        if self.begun:
            return
        self.begun = True
        self._slot["serving"] = LEAVING_SOON
        # The last worker waits for a successor and serves meanwhile: a connection on its way is one that waits.
        while not (self._others_wait or self._scoreboard.any_stays()) and not self._stopping:
            gevent.sleep(RETIRE_PAUSE_S)
        self._take_no_more()
        self._hand_over()
        if not self._stopping:
            self.done.set()

    def _hand_over(self) -> None:
        connections, receipt = self._connections, self._connections.receipt
        while connections.held and not self._stopping:
            self._waiting.one_less.clear()
            connections.give_all()
            if self._hurried:
                self._waiting.give_up()
                connections.close_what_cannot_go()
            # For room in the hand-over pair, or the rest of a request. A client whose request has waited may send the
            # next one at once, and that waits, too: it must go before.
            self._waiting.one_less.wait(RETIRE_PAUSE_S)
        receipt.give_no_more()
        while receipt.outstanding and not (self._stopping or self._hurried):
            gevent.sleep(RETIRE_PAUSE_S)

    def hurry(self) -> None:
        """Wait no longer for clients in the middle of a long request, nor for siblings to take what was given: it stays
        for them.
        """
        self._hurried = True

    def stop(self, *, drain: bool) -> None:
        """Answer what has arrived, close every connection, end. `drain`: the sockets' queues end with us, too."""
        if self._stopping:
            return
        self._stopping = self.begun = True
        self._take_no_more()
        entrances: list[HandoverReceiver | Acceptor] = [*self._receivers, *(self._acceptors if drain else ())]
        began_s = time.monotonic()
        held = self._connections.held
        while True:
            late = time.monotonic() > began_s + STOP_PATIENCE_S
            if time.monotonic() > began_s + STOP_GIVES_UP_S:
                self._waiting.give_up()
            drained = all(entrance.drain(DRAINED_A_LOOK) for entrance in entrances)
            gevent.sleep(STOP_PAUSE_S)
            for connection in [each for each in held if late or (each.idle and not each.readable)]:
                connection.close()
            if not held and (drained or late):
                break
        self.done.set()

    def _take_no_more(self) -> None:
        if not self._slot["serving"]:
            return
        self._slot["serving"] = 0
        setproctitle(f"forkpolicy: worker {self._slot.number}, leaving")
        entrances: list[HandoverReceiver | Acceptor] = [*self._receivers, *self._acceptors]
        for entrance in entrances:
            entrance.stop()
