"""Who answers questions that take time: the interface of all that a worker asks, and the one for each kind of question
of the world.

An asker never blocks and never switches to another greenlet. It has time limits of its own; how long a request may wait
for everything together is the business of waiting.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from forkpolicy.policy.answers import NotAskedError

if TYPE_CHECKING:
    from forkpolicy.state.store import Question

Done = Callable[[object], None]
"""Called once with the answer, or with the StateError or WorldError why there is none."""


class Asker(Protocol):
    """Answers the questions of one kind, or those to the store."""

    def ask(self, question: Question[object], /) -> object:
        """The answer, where it is there at once. Raises MustWait where it takes time, and StateError or WorldError
        where it is known that there will be none.
        """

    def begin(self, question: Question[object], raw: bytes, done: Done, /) -> None:
        """Ask. `raw` is the request as it came. `done` is called later, never by this call."""


class World:
    """The askers of a worker by the kind of the question."""

    def __init__(self) -> None:
        self.askers: dict[str, Asker] = {}

    def ask(self, question: Question[object]) -> object:
        """As Asker.ask. Raises NotAskedError for a kind that nobody answers."""
        return self._asker(question).ask(question)

    def begin(self, question: Question[object], raw: bytes, done: Done) -> None:
        """As Asker.begin."""
        self._asker(question).begin(question, raw, done)

    def _asker(self, question: Question[object]) -> Asker:
        asker = self.askers.get(question.kind)
        if asker is None:
            raise NotAskedError(f"nobody answers {question.kind}")
        return asker
