"""The store in an engine as tools and tests use it: one call after the other, by redis-py.

Workers send the same commands over connections of their own. An engine has no order of keys, so `walk` reads all that
match when it begins and keeps them sorted: some 150 bytes of memory for each.

Every method raises StateError, in words.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, TypeVar, cast

from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError

from forkpolicy.state.redis.client import connect, failures_in_words
from forkpolicy.state.redis.commands import Commands, answer_of
from forkpolicy.state.redis.engine_keys import embedded_key, pattern
from forkpolicy.state.redis.hosts import LASTS_S
from forkpolicy.state.store import StoreFigures, is_valid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.state.redis.access import Access
    from forkpolicy.state.redis.client import Client
    from forkpolicy.state.redis.commands import Command
    from forkpolicy.state.store import Question

T = TypeVar("T")

# Keys that an engine looks at for one reply of SCAN, and records that are read or forgotten together.
_STEP = 1000


class RedisStore:
    """The store of one Access. `clock`: as `Commands` takes it."""

    def __init__(self, access: Access, clock: str = "") -> None:
        self._access = access
        self._prefix = f"{access.prefix}:".encode()
        self._commands = Commands(access.prefix, clock)
        self._client = connect(access)
        self._walked: tuple[bytes, list[tuple[bytes, bytes]]] = (b"", [])

    def close(self) -> None:
        """End its connections."""
        self._client.close()

    def ask(self, question: Question[T]) -> T:
        """The answer, by one script; what the question counts is counted."""
        with failures_in_words(self._access):
            return cast("T", answer_of(question, self.run(self._commands.of(question))))

    def run(self, command: Command) -> object:
        """The reply to a command. A script that the engine does not know has not run, and is sent whole."""
        script, keys, arguments, shared = command
        try:
            return self._client.evalsha(script.sha.decode(), len(keys), *keys, *arguments, *shared)
        except NoScriptError:
            return self._client.eval(script.source, len(keys), *keys, *arguments, *shared)

    def peek(self, question: Question[T]) -> T:
        """The answer that `ask` would give, with nothing written: the question's own step over what the engine has."""
        with failures_in_words(self._access):
            engine_keys = self._commands.of(question).keys
            by_key = {embedded_key(each, self._prefix) or b"": each for each in engine_keys}
            return question.step(_PeekedRecords(self, by_key))

    def get(self, engine_key: bytes) -> bytes | None:
        """What the engine has under a key of its own."""
        return cast("bytes | None", self._client.get(engine_key))

    def now_s(self) -> float:
        """The engine's clock; of a cluster, that of one node."""
        with failures_in_words(self._access):
            seconds, microseconds = self._nodes()[0].time()
        return float(seconds + microseconds / 1_000_000)

    def walk(self, prefix: bytes, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """At most `most` keys and records that begin with `prefix` and come after the key `after`, in their order, of
        those that were there when the walk began: when `after` was empty.
        """
        if not after or self._walked[0] != prefix:
            self._walked = prefix, sorted(set(self._keys(prefix)))
        found = self._walked[1]
        at = bisect_right(found, after, key=lambda each: each[0])
        records: list[tuple[bytes, bytes]] = []
        while at < len(found) and len(records) < most:
            step = found[at : at + most - len(records)]
            at += len(step)
            records += self._valid(step)
        return records

    def _valid(self, found: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        now_s = self.now_s()
        with failures_in_words(self._access):
            read = self._client.mget_nonatomic if self._is_cluster else self._client.mget
            records = read([engine_key for _, engine_key in found])
        for (key, _), record in zip(found, records, strict=True):
            if record is not None and is_valid(record, now_s):
                yield key, record

    def reset(self, prefix: bytes) -> int:
        """Forget every record whose key begins with `prefix`; returns how many."""
        engine_keys = list({engine_key for _, engine_key in self._keys(prefix)})
        with failures_in_words(self._access):
            steps = (engine_keys[at : at + _STEP] for at in range(0, len(engine_keys), _STEP))
            return sum(self._client.unlink(*step) for step in steps)

    def _keys(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The keys that begin with `prefix`, each with the engine's own; some may come twice."""
        with failures_in_words(self._access):
            for engine_key in self._client.scan_iter(match=pattern(prefix, self._prefix), count=_STEP):
                key = embedded_key(engine_key, self._prefix)
                if key is not None and key.startswith(prefix):
                    yield key, engine_key

    def hosts(self) -> list[tuple[str, str, int]]:
        """The hosts that have announced themselves, in order: name, report, how many seconds ago."""
        mark = self._prefix + b"host:"
        with failures_in_words(self._access):
            keys = sorted(set(self._client.scan_iter(match=mark + b"*", count=_STEP)))
            found = [(key, self._client.get(key), self._client.ttl(key)) for key in keys]
        return [
            (key[len(mark) :].decode(errors="replace"), report.decode(errors="replace"), LASTS_S - ttl_s)
            for key, report, ttl_s in found
            if report is not None
        ]

    def describe(self) -> StoreFigures:
        """What the whole engine uses, and how many keys its database has, whoever they belong to."""
        infos = self.infos()
        with failures_in_words(self._access):
            entries = sum(node.dbsize() for node in self._nodes())
        return StoreFigures(
            used_bytes=sum(info["used_memory"] for info in infos),
            max_bytes=sum(info["maxmemory"] for info in infos),
            entries=entries,
            evicted=sum(info["evicted_keys"] for info in infos),
        )

    def infos(self) -> list[dict[str, int]]:
        """What INFO says of each node that has records."""
        with failures_in_words(self._access):
            return [node.info() for node in self._nodes()]

    def _nodes(self) -> list[Client]:
        """Those that have records, each with a client of its own."""
        return [node.redis_connection for node in self._client.get_primaries()] if self._is_cluster else [self._client]

    @property
    def _is_cluster(self) -> bool:
        return isinstance(self._client, RedisCluster)


class _PeekedRecords:
    """The records of one question, by their keys, each read when it is wanted. Nothing is written."""

    def __init__(self, store: RedisStore, engine_keys: dict[bytes, bytes]) -> None:
        self._store, self._engine_keys = store, engine_keys
        self.now_s = store.now_s()

    def get(self, key: bytes) -> bytes | None:
        """As Records.get."""
        record = self._store.get(self._engine_keys[key])
        return record if record is not None and is_valid(record, self.now_s) else None

    def put(self, key: bytes, record: bytes) -> None:
        """Nothing."""

    def delete(self, key: bytes) -> None:
        """Nothing."""
