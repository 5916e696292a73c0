"""What the policy of a worker asks where several hosts share a memory: the asker of an engine.

A question is one command (state/redis/commands.py). An error that says that it was not executed is no reason to fail:
it is sent again, where that helps. Whatever may have been executed is not, and fails: a question that was counted twice
would be worse than one without an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import gevent
from hiredis import ReplyError

from forkpolicy.errors import StateError
from forkpolicy.policy.answers import MustWait
from forkpolicy.state.redis.commands import Commands, answer_of
from forkpolicy.worker.redis.connecting import Means
from forkpolicy.worker.redis.node import Node
from forkpolicy.worker.redis.packing import ASKING, by_digest, by_source
from forkpolicy.worker.redis.places import Cluster, locate

if TYPE_CHECKING:
    from forkpolicy.policy.answers import Lost
    from forkpolicy.state.redis.access import Access
    from forkpolicy.state.redis.commands import Command
    from forkpolicy.state.store import Question
    from forkpolicy.worker.redis.connecting import Address
    from forkpolicy.worker.seldom_log import EventLog
    from forkpolicy.worker.world import Done

# How often one question may be sent, refused each time without having been executed.
MOST_SENT: Final = 4
# A server that has no data yet, no master, not all of its cluster, or is no master: the command has not run, and others
# would not either.
REFUSES_ALL: Final = ("LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY")


class RemoteStore:
    """Of one worker, made after its fork. Reports to `log` when the engine does not answer, and when it does again."""

    def __init__(self, access: Access, log: EventLog, clock: str = "") -> None:
        """`clock` as Commands takes it."""
        self.access = access
        self._log = log
        self._commands = Commands(access.prefix, clock)
        means = Means(access, [script.source for script in self._commands.scripts.values()])
        self._down: set[object] = set()
        # Until it is known where a key is.
        self._homeless: list[_Asked] = []
        self._cluster: Cluster | None = None
        self._node: Node | None = None
        if access.url.form == "cluster":
            self._cluster = Cluster(means, self, self._learned)
            self._cluster.learn()
        else:
            self._node = Node(means, locate(means), self)
            self._node.start()

    @property
    def is_up(self) -> bool:
        """Whether everything of the engine answers, as far as anybody knows."""
        return not self._down

    def ask(self, _question: Question[object]) -> object:
        """Never at once. Raises StateError where it is known that there will be no answer, else MustWait."""
        refused = self._node.refused if self._node else self._cluster.refused if self._cluster else ""
        if refused:
            raise StateError(refused)
        raise MustWait

    def begin(self, question: Question[object], _raw: bytes, done: Done) -> None:
        """As Asker.begin."""
        _Asked(self, question, self._commands.of(question), done).send()

    def tell(self, question: Question[object], lost: Lost) -> None:
        """Have something remembered. Before a later question about the same key, since they go the same way, and the
        engine knows the scripts.
        """

        def done(answer: object) -> None:
            if isinstance(answer, Exception):
                lost(str(answer))

        self.begin(question, b"", done)

    def close(self) -> None:
        """For good. Whatever waits fails."""
        if self._cluster:
            self._cluster.close()
        if self._node:
            self._node.close()

    def node_is_down(self, node: object, reason: str) -> None:
        """Logged once at each change."""
        if node not in self._down:
            self._down.add(node)
            self._log.event("error", "engine down", reason=reason)
        if self._cluster and node is not self._cluster:
            # A replica may have taken its place.
            self._cluster.learn()

    def node_is_up(self, node: object, where: str) -> None:
        """The same."""
        if node in self._down:
            self._down.discard(node)
            self._log.event("info", "engine up", server=where)

    def node_for(self, key: bytes) -> Node | None:
        """Who has a key; None: nobody knows yet."""
        return self._cluster.node_of(key) if self._cluster else self._node

    def wait_for_place(self, asked: _Asked) -> None:
        """Send it once the nodes of the cluster are known."""
        assert self._cluster is not None
        self._homeless.append(asked)
        self._cluster.learn()

    def node_at(self, address: Address, *, has_moved: bool) -> Node | None:
        """The node of a cluster that a server has named for a key. One that has moved has done so with its slot."""
        if self._cluster is None:
            return None
        if has_moved:
            self._cluster.learn()
        return self._cluster.node_at(address)

    def _learned(self) -> None:
        assert self._cluster is not None
        homeless, self._homeless = self._homeless, []
        nobody = self._cluster.refused or f"{self.access.url}: no node of the cluster has the slot of this key"
        for asked in homeless:
            node = None if self._cluster.refused else self._cluster.node_of(asked.key)
            if node:
                asked.send_to(node)
            else:
                asked.fail(nobody)


class _Asked:
    """One question on its way."""

    __slots__ = ("_command", "_done", "_is_import", "_node", "_question", "_sent", "_store")

    def __init__(self, store: RemoteStore, question: Question[object], command: Command, done: Done) -> None:
        self._store, self._question, self._command, self._done = store, question, command, done
        self._node: Node | None = None
        self._sent = 0
        self._is_import = False

    def send(self) -> None:
        """To the server that has its key."""
        node = self._store.node_for(self.key)
        if node is None:
            self._store.wait_for_place(self)
        else:
            self.send_to(node)

    @property
    def key(self) -> bytes:
        """One that says where the others are, too."""
        return self._command.keys[0]

    def send_to(self, node: Node) -> None:
        """To a server, if it may be asked."""
        if node.refused and self._sent == 0:
            gevent.get_hub().loop.run_callback(self.fail, node.refused)
        else:
            self._send_to(node, by_digest(self._command))

    def fail(self, reason: str) -> None:
        """There will be no answer."""
        self._done(StateError(reason))

    def _send_to(self, node: Node, packed: bytes) -> None:
        self._node = node
        self._sent += 1
        if self._is_import:
            node.send(ASKING, _ignore)
        node.send(packed, self._received)

    def _received(self, reply: object) -> None:
        node = self._node
        assert node is not None
        if type(reply) is ReplyError:
            self._refused(node, str(reply))
        elif isinstance(reply, ConnectionError):
            self.fail(node.shown(str(reply)))
        else:
            node.succeeded()
            self._done(self._answer(node, reply))

    def _answer(self, node: Node, reply: object) -> object:
        try:
            return answer_of(self._question, reply)
        except (TypeError, ValueError, IndexError):
            return StateError(node.shown(f"its reply is not one of our script: {str(reply)[:80]}"))

    def _refused(self, node: Node, text: str) -> None:
        """What is done about an error that the server has replied."""
        word, _, rest = text.partition(" ")
        if self._sent >= MOST_SENT:
            self.fail(node.shown(text))
        elif word == "NOSCRIPT":
            self._send_to(node, by_source(self._command))
        elif word in ("MOVED", "ASK") and (to := self._elsewhere(node, word, rest)):
            self._is_import = word == "ASK"
            self._send_to(to, by_digest(self._command))
        elif word == "READONLY" and self._sent == 1:
            # It was a master, and is a replica now: who is it instead?
            node.renew()
            self.send()
        elif word in REFUSES_ALL:
            node.failed(text)
            self.fail(node.shown(text))
        else:
            self.fail(node.shown(text))

    def _elsewhere(self, node: Node, word: str, rest: str) -> Node | None:
        host, _, port = rest.rpartition(" ")[2].rpartition(":")
        if not port.isdecimal() or node.address is None:
            return None
        return self._store.node_at((host or node.address[0], int(port)), has_moved=word == "MOVED")


def _ignore(_reply: object) -> None:
    pass
