"""Each question as one command of an engine: a Lua script, its keys and its arguments; and the answer in its reply.

A script is the question's step in Lua (scripts/), on the engine's clock: it gives the same answer as any other store,
and leaves the same record to the byte. It is called by its digest (EVALSHA) and loaded where the engine does not know
it. Amounts are exact up to MOST_AMOUNT of rate.py, as Lua counts in doubles.

Keys are those of keys.py in another form, `PREFIX:KIND:{TAG}REST`. What stands in the braces is what the keys of one
script have in common, so that a cluster has them in one slot (a `}` in a value ends the tag early, in both keys alike).

Knows no connection. A worker calls `Commands.of` and `answer_of` for each question: a few microseconds.
"""

from __future__ import annotations

from functools import cache, lru_cache
from hashlib import sha1
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from forkpolicy.state import keys
from forkpolicy.state.questions.distinct import Distinct, DistinctAnswer, value_hash
from forkpolicy.state.questions.greylisting import RESULTS, Greylisting, GreylistingAnswer
from forkpolicy.state.questions.listed import Forget, Listed, ListedAnswer, Remember
from forkpolicy.state.questions.rate import SLOTS, Limit, Rate, RateAnswer, form_of, item_hash
from forkpolicy.state.redis.hosts import LASTS_S, Announce
from forkpolicy.status import StateFigures

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.state.store import Question

    Parts = tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...]]

_FLAG: Final = {False: b"0", True: b"1"}


class Script(NamedTuple):
    """One script. `sha`: its digest as EVALSHA takes it, 40 hexadecimal digits."""

    name: str
    source: bytes
    sha: bytes


class Command(NamedTuple):
    """`EVALSHA script.sha len(keys) *keys *arguments *shared`. All keys are in one slot of a cluster; `shared` are the
    arguments that all commands of an ACL have.
    """

    script: Script
    keys: tuple[bytes, ...]
    arguments: tuple[bytes, ...]
    shared: tuple[bytes, ...]


class Commands:
    """The commands of one prefix. `clock` begins every script: tests give one that they can set."""

    __slots__ = ("_prefix", "scripts")

    def __init__(self, prefix: str, clock: str = "") -> None:
        self._prefix = f"{prefix}:".encode()
        beginning = (clock or _source("clock")) + _source("records")
        self.scripts = {kind: _script(name, beginning + _source(name)) for kind, (name, _) in _KINDS.items()}

    def of(self, question: Question[object]) -> Command:
        """The command of a question."""
        kind = type(question)
        return Command(self.scripts[kind], *_KINDS[kind][1](self._prefix, question))


def answer_of(question: Question[object], reply: object) -> object:
    """The answer in a reply, which is an integer or a list of them. Raises TypeError, ValueError or IndexError for any
    other.
    """
    if isinstance(question, Rate):
        over, wait_s, *used = cast("list[int]", reply)
        return RateAnswer(bool(over), wait_s, question.limits, tuple(used))
    match question:
        case Greylisting():
            waits, left_s, result = cast("list[int]", reply)
            return GreylistingAnswer(bool(waits), left_s, RESULTS[result])
        case Distinct():
            different = cast("int", reply)
            return DistinctAnswer(different > question.most, different)
        case Listed():
            return ListedAnswer(float(cast("int", reply)) if reply else None)
        case Announce():
            entries, used_bytes, max_bytes = cast("list[int]", reply)
            return StateFigures(used_bytes, max_bytes, entries)
        case _:
            return None


@cache
def _source(name: str) -> str:
    """A file. Read once: a worker has given up root, and perhaps may not read it."""
    return (resources.files(__package__) / "scripts" / f"{name}.lua").read_text("utf-8")


def _script(name: str, source: str) -> Script:
    encoded = source.encode()
    return Script(name, encoded, sha1(encoded, usedforsecurity=False).hexdigest().encode())


def _rate(prefix: bytes, asked: Rate) -> Parts:
    suffix, shared = _of_all(asked.counting, asked.limits)
    key = keys.make(keys.RATE, asked.acl, asked.key, suffix)
    tag = key[2:]
    arguments = b"%d" % asked.amount, _FLAG[asked.refused_counts], item_hash(asked.item), _FLAG[asked.is_total]
    tagged = b"%br:{%b}" % (prefix, tag)
    if not asked.instance:
        return (tagged,), arguments, shared
    instance = keys.with_suffix(keys.INSTANCE + key[1:], asked.instance)[len(key) :]
    return (tagged, b"%bi:{%b}%b" % (prefix, tag, instance)), arguments, shared


@lru_cache(maxsize=4096)
def _of_all(counting: str, limits: tuple[Limit, ...]) -> tuple[bytes, tuple[bytes, ...]]:
    """What all requests of an ACL share: the suffix of their keys, and arguments. Lua's struct calls 4 and 8 bytes I4
    and I8.
    """
    form = form_of(counting, limits)
    heads = form.heads.format.replace("I", "I4").replace("Q", "I8").encode()
    counts = b"<" + b"I%d" % (form.counts.size // SLOTS) * SLOTS
    numbers = (form.lasts_s, form.most, *(number for limit in limits for number in limit))
    return form.suffix, (heads, counts, *(b"%d" % number for number in numbers))


def _greylisting(prefix: bytes, asked: Greylisting) -> Parts:
    tag = keys.make(keys.NETWORK, asked.acl, (asked.network,))[2:]
    triplet = keys.make(keys.GREYLISTING, asked.acl, (asked.network, asked.sender, asked.recipient))[2:]
    # One that is too long has a digest of all its parts behind the name.
    rest = triplet.removeprefix(tag) if triplet.startswith(tag) else triplet[triplet.index(0) + 1 :]
    shared = _numbers(asked.delay_s, asked.window_s, asked.keep_s, asked.auto, asked.training)
    return (b"%bg:{%b}%b" % (prefix, tag, rest), b"%bn:{%b}" % (prefix, tag)), (), shared


def _distinct(prefix: bytes, asked: Distinct) -> Parts:
    key = keys.make(keys.DISTINCT, asked.acl, asked.key, b"%d" % asked.window_s)
    return (b"%bd:{%b}" % (prefix, key[2:]),), (value_hash(asked.value),), _numbers(asked.most, asked.window_s)


def _of_list(prefix: bytes, asked: Listed | Remember | Forget) -> Parts:
    key = b"%bl:{%b}" % (prefix, keys.make(keys.LISTED, asked.list_name, asked.key)[2:])
    return (key,), (), _numbers(asked.duration_s) if isinstance(asked, Remember) else ()


def _announce(prefix: bytes, asked: Announce) -> Parts:
    return (b"%bhost:%b" % (prefix, asked.host.encode()),), (asked.report.encode(),), _numbers(LASTS_S)


@lru_cache(maxsize=4096)
def _numbers(*numbers: int) -> tuple[bytes, ...]:
    return tuple([b"%d" % number for number in numbers])


_KINDS: Final[dict[type, tuple[str, Callable[..., Parts]]]] = {
    Rate: ("rate", _rate),
    Greylisting: ("greylisting", _greylisting),
    Distinct: ("distinct", _distinct),
    Listed: ("listed", _of_list),
    Remember: ("remember", _of_list),
    Forget: ("forget", _of_list),
    Announce: ("announce", _announce),
}
