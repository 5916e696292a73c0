"""What goes wrong in a fire drill: a name server is late, dead or lies; an engine stops, dies, comes back empty.

A drill has the settings and the policy of its server, begins and ends what goes wrong, and knows which replies are
right meanwhile. The server itself is never touched.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import TYPE_CHECKING, Final, Protocol

from loadtest.clients.policy_client import PostfixClient
from loadtest.errors import SetupError
from loadtest.servers.engine import Engine
from loadtest.servers.names.behaviours import Behaviour, Sent, late, listed, malformed, never, nxdomain, sends
from loadtest.servers.names.messages import Record
from loadtest.servers.names.server import NameServer
from loadtest.traffic import asking

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from loadtest.servers.names.messages import Question
    from loadtest.traffic.asking import Answered, Asked

LATE_S: Final = 3.0
# As a list that is far away answers: long enough for every client to wait most of the time.
FAR_S: Final = 0.6
# How long the server may go on failing once the engine is back: its breaker looks every half second at first.
RECOVERY_S: Final = 30.0
LOOK_S: Final = 0.05


class Drill(Protocol):
    """One of them. `policy` and `settings` (lines of [state], then other sections) are for a server of its own;
    `all_wait`: whether every client that asks waits while it goes wrong; `spread_s`: within which they begin to ask.
    """

    policy: str
    settings: str
    all_wait: bool
    spread_s: float

    def begin(self) -> None:
        """From now on it goes wrong."""

    def end(self) -> None:
        """It does no more."""

    def questions(self) -> Iterator[Asked]:
        """What is asked meanwhile, without end."""

    def wrong(self, answered: Sequence[Answered]) -> Iterator[str]:
        """What of the replies of one phase was wrong."""

    def recover(self, server: Path) -> Iterator[str]:
        """Wait until everything is as before; what was wrong then."""


class _Names:
    """A name server that has one list."""

    all_wait = True
    policy = asking.LOOKING

    def __init__(
        self, stack: ExitStack, behaviour: Behaviour, *, spread_s: float, timeout_s: float = 1.0, is_known: bool = False
    ) -> None:
        self._server = stack.enter_context(NameServer(zones={asking.ZONE: _list(behaviour)}))
        self.settings = f'[dns]\nservers = ["{self._server.address}"]\ntimeout = {timeout_s}\n'
        self.spread_s = spread_s
        self._is_known, self._numbers = is_known, asking.numbers()

    def begin(self) -> None:
        """It goes wrong all the time: nobody asks otherwise."""

    def end(self) -> None:
        """As `begin`."""

    def questions(self) -> Iterator[Asked]:
        """Clients that were not asked about before."""
        return asking.look_ups(self._numbers, is_known=self._is_known)

    def wrong(self, answered: Sequence[Answered]) -> Iterator[str]:
        """Each reply is right or wrong by itself."""
        return asking.wrong_replies(answered)

    def recover(self, _server: Path) -> Iterator[str]:
        """Nothing to wait for."""
        return iter(())


class _Engines:
    """An engine that counts messages of one login after the other."""

    policy = asking.COUNTING
    all_wait = False
    spread_s = FAR_S
    may_fail = True
    lives = 2
    timeout_s = 0.5

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.engine = stack.enter_context(Engine(directory / "engine"))
        self.settings = f'url = "{self.engine.url}"\ntimeout = {self.timeout_s}\n'
        self._numbers, self._logins = asking.numbers(), itertools.count(1)

    def begin(self) -> None:
        """It dies."""
        self.engine.kill()

    def end(self) -> None:
        """It comes back, empty."""
        self.engine.start()

    def questions(self) -> Iterator[Asked]:
        """Messages of a login that is not known yet."""
        return asking.messages(self._login(), self._numbers, may_fail=self.may_fail)

    def wrong(self, answered: Sequence[Answered]) -> Iterator[str]:
        """Of all replies of a login together."""
        yield from asking.wrong_replies(answered)
        yield from asking.wrong_counts(answered, self.lives)

    def recover(self, server: Path) -> Iterator[str]:
        """Until it counts again; then a login has exactly its limit."""
        with contextlib.closing(PostfixClient(server)) as client:
            until_s = time.monotonic() + RECOVERY_S
            while self._ask(client, self._login(), 1)[0] == asking.FAILED:
                if time.monotonic() > until_s:
                    yield f"it still fails, {RECOVERY_S:g} s after the engine is back"
                    return
                time.sleep(LOOK_S)
            login = self._login()
            actions = self._ask(client, login, asking.LIMIT + 5)
        if actions != [asking.PASSED] * asking.LIMIT + [asking.SLOW] * 5:
            passed = actions.count(asking.PASSED)
            yield f"{login}: {passed} of {len(actions)} passed afterwards, and {asking.LIMIT} should"

    def _ask(self, client: PostfixClient, login: str, count: int) -> list[str]:
        messages = asking.messages(login, self._numbers, may_fail=True)
        return [client.ask(asked.request) for asked in itertools.islice(messages, count)]

    def _login(self) -> str:
        return f"user{next(self._logins)}@example.com"


class _Stopped(_Engines):
    """It stands still, for less than the time-out: everybody waits, and nothing is lost."""

    all_wait = True
    may_fail = False
    lives = 1
    timeout_s = 3.5

    def begin(self) -> None:
        """Between two commands."""
        self.engine.stop()

    def end(self) -> None:
        """It answers everything that has come meanwhile."""
        self.engine.go_on()


class _Empty(_Engines):
    """It is killed and started at once."""

    def begin(self) -> None:
        """Both."""
        self.engine.kill()
        self.engine.start()

    def end(self) -> None:
        """It is there already."""


def _list(behaviour: Behaviour) -> Behaviour:
    """The list with its test records (RFC 5782), so that the zone is on; `behaviour` for everything else."""

    def behave(question: Question) -> list[Sent]:
        if question.name == f"2.0.0.127.{asking.ZONE}":
            return listed()(question)
        return (nxdomain() if question.name == f"1.0.0.127.{asking.ZONE}" else behaviour)(question)

    return behave


def _right(question: Question) -> list[Sent]:
    """What the list has."""
    *reversed_address, _, _ = question.name.split(".")
    return (listed() if int(reversed_address[0]) % 2 else nxdomain())(question)


def _lie(question: Question) -> list[Sent]:
    """Answers that are no listing, one after the other."""
    last = int(question.name.partition(".")[0])
    return late(FAR_S, LIES[last % len(LIES)])(question)


# Not an error code: a zone that answers one is switched off, and nobody would wait for it any more.
LIES: Final = (
    listed("93.184.216.34"),
    sends(Record("A", "127.0.0.2", name="other.example.net")),
    malformed(),
    sends(),
)

# In their order.
NAMES: Final = ("late", "dead", "lies", "stop", "die", "empty")


def drill(name: str, stack: ExitStack, directory: Path) -> Drill:
    """One of NAMES, whose servers run until the stack is closed."""
    match name:
        case "late":
            # Two tries of two seconds would not hear it: the answer is in time.
            return _Names(stack, late(LATE_S, _right), spread_s=2.7, timeout_s=LATE_S + 0.5, is_known=True)
        case "dead":
            return _Names(stack, never(), spread_s=1.8)
        case "lies":
            return _Names(stack, _lie, spread_s=FAR_S)
        case "stop":
            return _Stopped(stack, directory)
        case "die":
            return _Engines(stack, directory)
        case "empty":
            return _Empty(stack, directory)
    raise SetupError(f"there is no drill {name}")
