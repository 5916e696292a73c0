"""What every ACL type gives the rest: a `Matcher` holds or does not, can say what made it hold, and knows itself.

An ACL is a list of matchers, one of which is enough. A matcher is asked only when its attributes are known. `holds` is
the hot path's question and is as cheap as it can be; `find` is the explanation's and may take its time; they never
disagree. Whatever a matcher cannot answer (a table that cannot be read) raises; it is never "does not hold".

Everything that others must know about a type is asked here, so that nobody outside of this package looks at a
matcher's class: how the index may find it (`guard`), how it is written in generated code (`source`), what it covers for
the analysis of rules (`covers`), whether it asks a table or the clock, and what `check` and `explain` say about it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from forkpolicy.protocol.attributes import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.matchers.extent import Extent
    from forkpolicy.policy.matchers.guards import Guard
    from forkpolicy.policy.nodes import Place, Word
    from forkpolicy.state.store import Question
    from forkpolicy.world.dnsbl import Zone


class TableEntry(Protocol):
    """What a table says about a key: the entry's own key and value, and where it comes from."""

    @property
    def key(self) -> str:
        """The key as it stands in the source."""

    @property
    def value(self) -> str | None:
        """The second column, if any."""

    @property
    def source(self) -> str:
        """The file, parameter or device that the entry comes from."""

    @property
    def line(self) -> int:
        """The line in the source, 0 where it has none."""


class Lookup(Protocol):
    """A table as the policy sees it. `find` raises while there is no usable table."""

    @property
    def name(self) -> str:
        """As the policy declares it."""

    @property
    def kind(self) -> str:
        """cidr, domain, address or key, or `pair:` and its columns."""

    @property
    def find(self) -> Callable[..., bytes | None]:
        """Look a text up, or one for each column. Fetched for each look-up: a new version of the table brings a new
        function.
        """

    def entry(self, raw: bytes) -> TableEntry:
        """Decode what `find` returned."""

    def value(self, raw: bytes) -> str | None:
        """The value alone: cheaper."""


class Names(Protocol):
    """How a matcher's source names what it needs: each method returns an expression of the generated code."""

    def value(self, hint: str, value: object) -> str:
        """A value of Python's that the code uses; `hint` is for people who read the code."""

    def came(self, attribute: str) -> str:
        """An attribute as the request has it."""

    def seen(self, attribute: str) -> str:
        """The same as policies see it: addresses are rewritten as Postfix will."""

    def domain(self, attribute: str) -> str:
        """The domain of an address as policies see it, empty where it has none."""

    def once(self, shares: Hashable, expression: str) -> str:
        """An expression that several matchers of one function share: evaluated where the first of them needs it."""


class Asking(enum.Flag):
    """What asking a matcher may do besides giving an answer; nothing, for most.

    Rules are tried in their order, so one that may count or wait is asked only once everything left of it holds: the
    index takes no guard that stands right of it.
    """

    NOTHING = 0
    COUNTS = enum.auto()
    WAITS = enum.auto()
    FAILS = enum.auto()


class Finding(NamedTuple):
    """What made a matcher hold: a value of the policy with its place, or an entry of a table. `value` is what
    `{match.ACL}` puts in where it is not that of an entry; `wanted`: the value that the policy wants of an entry.
    """

    text: str
    place: Place | None = None
    table: str = ""
    entry: TableEntry | None = None
    value: str = ""
    wanted: str = ""


class Reading(NamedTuple):
    """What an answer means to a matcher. `holds`: None where it cannot be known, with the `reason`; `value`: for
    `{match.ACL}`; `result`: for metrics.
    """

    holds: bool | None
    value: str
    result: str
    reason: str = ""


class Matcher:
    """One way for an ACL to hold. `attributes`: what it is asked about, in the order of its arguments. It is asked when
    all of them are known, at one of `known_states`; `also_reads` it reads whether they are known or not.

    One that counts or waits answers no `holds` and no `find`: it has a question for the store (COUNTS) or for the world
    (WAITS), and reads the answer.
    """

    attributes: tuple[str, ...] = ()
    also_reads: tuple[str, ...] = ()
    known_states: frozenset[str] = frozenset(STATES)
    # Asking it changes what is remembered, and what of a message it counts.
    writes: bool = False
    counting: str = ""
    # A rule that comes to it is noted.
    notes: bool = False
    # The list that it looks into, and of how many parts its keys are.
    list_name: str = ""
    key_parts: int = 0
    # The DNS lists that it asks.
    zones: tuple[Zone, ...] = ()
    # A store, a name server or a service that does not answer leaves its answer unknown.
    skips: bool = False
    # The policy server that it asks, whose whole reply is what `{match.ACL}` puts in.
    endpoint: str = ""
    timeout_s: int = 0
    # The first words of those replies, codes as 4xx and 5xx.
    replies: frozenset[str] = frozenset()
    # Strangers choose what `{match.ACL}` puts in: it is fit for a text, and not for where mail goes.
    foreign_text: bool = False
    asking: ClassVar[Asking] = Asking.NOTHING
    # About what it costs a decision in which it is asked in vain: what an index is weighed against.
    asking_us: ClassVar[float] = 0.5
    # The table that it asks.
    lookup: Lookup | None = None
    # The values that it wants of entries of that table, folded, and what folds those of entries.
    wanted: tuple[Callable[[str], str], Mapping[str, Word]] | None = None
    # Equal for matchers whose source asks for the same expression `once`.
    shares: Hashable = None
    # What tells it the time; who asks a policy about the past puts another clock here.
    clock: Callable[[], float] | None = None

    def holds(self, *values: str) -> bool:
        """Whether it holds for these values of `attributes`."""
        return self.find(*values) is not None

    def find(self, *values: str) -> Finding | None:
        """What made it hold, None when it does not."""
        raise NotImplementedError

    def missed(self, *_values: str) -> Finding | None:
        """An entry of a table for which it does not hold, because its value is not as wanted."""
        return None

    def question(self, values: Mapping[str, str | None]) -> Question[object] | None:
        """What is asked about a request; None where there is nothing to ask for: it does not hold."""
        raise NotImplementedError

    def read(self, answer: object) -> Reading:
        """What the answer means. Raises WorldError where none can be made of it."""
        raise NotImplementedError

    def in_words(self, question: Question[object], answer: object) -> str:
        """A question and its answer for people."""
        raise NotImplementedError

    def put_in(self) -> None:
        """An action has `{match.ACL}`. Called while the policy is loaded."""

    def guard(self) -> Guard | None:
        """How the index finds whether it can hold; None: only by asking it."""
        return None

    def source(self, names: Names) -> str:
        """The expression of generated code that says what `holds` says."""
        values = ", ".join(names.seen(name) for name in self.attributes)
        return f"{names.value('holds', self.holds)}({values})"

    def covers(self) -> Extent:
        """What it holds for, as the analysis of rules compares it."""
        raise NotImplementedError

    def warnings(self) -> Iterator[Diagnostic]:
        """What `check` says about its values."""
        return iter(())

    def why_not(self) -> str:
        """What `explain` says where it does not hold and no attribute shows why."""
        return ""

    @property
    def tables(self) -> tuple[Lookup, ...]:
        """All tables that it asks."""
        return (self.lookup,) if self.lookup else ()

    @property
    def acls(self) -> tuple[str, ...]:
        """The names of the ACLs that it asks itself."""
        return ()

    @property
    def needs_clock(self) -> bool:
        """Whether it depends on what time it is."""
        return self.clock is not None


def attributes_of(matchers: Iterable[Matcher]) -> tuple[str, ...]:
    """All attributes that matchers ask for, each once, in order."""
    return tuple(dict.fromkeys(name for matcher in matchers for name in matcher.attributes))
