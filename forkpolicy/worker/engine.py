"""What a worker serves with: one generation of policy and tables, how it is replaced, and what is counted and logged.

Connections ask `decide` and, where a reply has to be made or a decision logged, `finish`. A reload comes in two
steps from the master: `prepare` compiles the new generation beside the one that serves (in a thread, so that no
request waits), `commit` swaps. New tables are taken up without a reload: `refresh_tables` verifies a changed file
in a thread and swaps in the loop.

Nothing here raises for what the world does; a policy that cannot be loaded is a list of complaints.
"""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import gevent

from forkpolicy.errors import ConfigError
from forkpolicy.loading import load_everything
from forkpolicy.protocol.attributes import LOGGED_AS
from forkpolicy.protocol.layout import Layout, learnable, wanted_values
from forkpolicy.protocol.request import Request
from forkpolicy.worker.sampling import Sampling
from forkpolicy.worker.shadow import ShadowComparison

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.loading import Loaded
    from forkpolicy.policy.model import Line
    from forkpolicy.protocol.layout import Values
    from forkpolicy.tables.live_table import LiveTable

# The cause of failing evaluations and other repeated troubles is logged this often, whatever their number.
REPEAT_S = 60.0
# Postfix installations differ, connections of one do not: a handful of layouts is all that a worker meets.
MAX_LAYOUTS = 32
LINEAR_BUCKETS = 1024


class EventLog(Protocol):
    """Where lines go: never blocks."""

    def event(self, level: str, event: str, **fields: object) -> None:
        """Log one event."""

    def decision(self, **fields: object) -> None:
        """Log one decision."""


@dataclass
class Counters:
    """Plain numbers of one worker; its beat copies them to the scoreboard.

    `linear_us[n]` counts requests that took n times 1.024 us, up to a millisecond; `slow_ns` has the longer ones.
    """

    requests: int = 0
    busy_ns: int = 0
    errors: int = 0
    protocol_errors: int = 0
    linear_us: list[int] = field(default_factory=lambda: [0] * LINEAR_BUCKETS)
    slow_ns: list[int] = field(default_factory=list)


class Engine:
    """One worker's generation. `decide` is replaced with the generation, so connections fetch it for each request."""

    def __init__(self, loaded: Loaded, generation: int, log: EventLog) -> None:
        self.log = log
        self.counters = Counters()
        self.generation = generation
        self.loaded = loaded
        self.layouts: dict[tuple[str, ...], Layout] = {}
        self.layouts_epoch = 0
        self._prepared: Loaded | None = None
        self._refreshing = False
        self._last_logged_s: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}
        self._use(loaded)

    def _use(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.policy = loaded.policy
        self.policy.on_failure = self._evaluation_failed
        shadow = loaded.shadow
        self.shadow = (
            ShadowComparison(self.policy, shadow, self._shadow_differs, self._shadow_failed) if shadow else None
        )
        self.decide = self.shadow.decide if self.shadow else self.policy.decide
        self.logged_at = [(word, self.policy.wanted.index(name)) for name, word in LOGGED_AS.items()]
        self.sampling = Sampling(self.policy)
        self.noted = self.policy.noted
        self.on_error = self.policy.model.error_line
        self.layouts = {}
        self.layouts_epoch += 1
        decisions = loaded.settings.log.decisions
        lines = [*self.policy.model.lines, self.policy.model.default_line]
        # Lines whose reply can go out as it is, with nothing to log: nearly all requests end in one.
        for line in lines:
            line.plain = b"" if _is_logged(line, decisions) else line.action.encoded

    # Tables

    def open_tables(self, good: Mapping[str, int]) -> list[str]:
        """Open every table; after the fork, before serving. `good` has, by path, descriptors of the last good files of
        the service, for where the file in place is not; they are closed. Why tables of the policy cannot be had at
        all: what needs them fails until they can.
        """
        for slot in _slots_of(self.loaded):
            slot.refresh()
            if slot.table is None and slot.path in good:
                slot.fall_back(os.dup(good[slot.path]))
            self._tell_refused(slot)
        for fd in good.values():
            os.close(fd)
        return [slot.refused for slot in self.loaded.slots.values() if slot.table is None]

    def refresh_tables(self) -> None:
        """Take up changed tables, without a request waiting for it. Called by a timer."""
        if not self._refreshing and any(slot.changed() for slot in _slots_of(self.loaded)):
            self._refreshing = True
            gevent.spawn(self._refresh)

    def _refresh(self) -> None:
        try:
            for slot in _slots_of(self.loaded):
                self._refresh_one(slot)
        finally:
            self._refreshing = False

    def _refresh_one(self, slot: LiveTable) -> None:
        refused = slot.refused
        file = gevent.get_hub().threadpool.apply(slot.prepare)
        if file and slot.take(file):
            self.log.event("info", "table loaded", table=slot.name, generation=slot.generation)
        elif slot.refused and slot.refused != refused:
            self._tell_refused(slot)

    def _tell_refused(self, slot: LiveTable) -> None:
        if slot.refused:
            serves = slot.generation or "none: what needs it is answered with on_error"
            self.log.event("error", "table refused", table=slot.name, reason=slot.refused, in_use=serves)

    # Reload

    def prepare(self, snapshot: Mapping[str, bytes]) -> list[str]:
        """Load a new generation beside the one that serves. The complaints; none: it is ready to be committed."""
        pool = gevent.get_hub().threadpool
        known = {slot.name: slot for slot in reversed(_slots_of(self.loaded))}
        try:
            loaded = pool.apply(load_everything, (self.loaded.settings.path, snapshot, known))
        except ConfigError as error:
            return [str(complaint) for complaint in error.complaints]
        except MemoryError:
            return ["a worker has not enough memory to load it"]
        except Exception as error:  # noqa: BLE001 - a bug must not keep master and operator waiting for an answer
            self.bug(error)
            return [f"a worker cannot load it, and the log says why: {type(error).__name__}: {error}"]
        for slot in _slots_of(loaded):
            if file := pool.apply(slot.prepare):
                slot.take(file)
        # Whoever reloads is told of a table that is damaged or gone, also where the one before goes on serving. A table
        # that only the shadow lacks keeps nothing from serving.
        complaints = [slot.refused for slot in loaded.slots.values() if slot.table is None or slot.refused]
        self._prepared = loaded
        if complaints:
            self.abort()
        return complaints

    def commit(self, generation: int) -> None:
        """Serve from the prepared generation from now on."""
        assert self._prepared is not None
        before, prepared = self.loaded, self._prepared
        self._prepared = None
        self.generation = generation
        self._use(prepared)
        _close_all(before, but=prepared)

    def abort(self) -> None:
        """Forget what was prepared."""
        prepared, self._prepared = self._prepared, None
        if prepared:
            _close_all(prepared, but=self.loaded)

    def describe(self) -> dict[str, object]:
        """What this worker serves: generation of the policy, and of each table."""
        tables = [slot.status() for slot in self.loaded.slots.values()]
        shadow: dict[str, object] = {"shadow": self.shadow.describe()} if self.shadow else {}
        return {"generation": self.generation, "tables": tables, **shadow}

    def sample_next(self) -> None:
        """Look closely at the next request; it alone pays for that. Called by the beat."""
        self.decide = self._decide_and_sample

    def _decide_and_sample(self, values: Values) -> Line:
        self.decide = self.shadow.decide if self.shadow else self.policy.decide
        self.sampling.look_at(values)
        return self.decide(values)

    def line_hits(self) -> list[int]:
        """How often each `access` line fired, and at last the end of the policy and the failures."""
        model = self.policy.model
        return [line.hits for line in (*model.lines, model.default_line, model.error_line)]

    # Requests

    def layout_of(self, request: Request) -> Layout | None:
        """The learnt layout for requests like this one."""
        names = request.layout
        if names is None or not learnable(names):
            return None
        if names not in self.layouts:
            if len(self.layouts) >= MAX_LAYOUTS:
                self.layouts.clear()
            self.layouts[names] = Layout(names, self.policy.wanted)
        return self.layouts[names]

    def values_of(self, request: Request) -> Values:
        """What the policy reads of a request."""
        return wanted_values(request, self.policy.wanted)

    def finish(self, line: Line, values: Values, raw: bytes, elapsed_us: int) -> bytes:
        """The reply of a decision that is no plain one: texts put in, `log` lines and the decision itself logged.

        `raw` is the request, for a log of everything.
        """
        policy, decisions = self.policy, self.loaded.settings.log.decisions
        for noted in policy.take_noted() if self.noted else ():
            noted.hits += 1
            if decisions != "none":
                # For `replay` the request stands with the decision, once.
                self._log_decision(noted, values, policy.text(noted, values), elapsed_us, note=True)
        reply = policy.reply(line, values)
        if _is_logged(line, decisions):
            text = reply[len("action=") : -2].decode("utf-8", "replace")
            self._log_decision(line, values, text, elapsed_us, **self._whole(raw))
        return reply

    def _whole(self, raw: bytes) -> dict[str, object]:
        """For `replay`: everything that Postfix said."""
        log = self.loaded.settings.log
        return {"request": Request.parse(raw).attributes} if log.decisions == "all" and log.format == "json" else {}

    def _log_decision(self, line: Line, values: Values, text: str, elapsed_us: int, **extra: object) -> None:
        named = {name: values[at] for name, at in self.logged_at}
        self.log.decision(action=text, line=line.where, acls=line.shown_acls, **named, us=elapsed_us, **extra)

    # Trouble

    def _evaluation_failed(self, failure: str) -> None:
        self.counters.errors += 1
        self.log_seldom("error", "evaluation failed", failure, answered=self.on_error.action.reply.text)

    def _shadow_differs(self, pair: str, real: str, shadow: str, values: Values) -> None:
        named = {name: values[at] for name, at in self.logged_at}
        self.log_seldom("info", "shadow differs", pair, key=pair, answered=real, shadow=shadow, **named)

    def _shadow_failed(self, failure: str) -> None:
        self.log_seldom("warning", "shadow evaluation failed", failure)

    def bug(self, error: Exception) -> None:
        """Log a bug of ours with its traceback; the request it met is answered with on_error."""
        self.counters.errors += 1
        where = "".join(traceback.format_exception(error))[-2000:]
        self.log_seldom("critical", "bug", f"{type(error).__name__}: {error}", traceback=where)

    def log_seldom(self, level: str, event: str, reason: str, *, key: str = "", **fields: object) -> None:
        """Log what may come with every request at most once a minute; the next line says how many there were.

        `key` tells kinds of one event apart.
        """
        kind = f"{event} {key}"
        now_s = time.monotonic()
        if now_s - self._last_logged_s.get(kind, -REPEAT_S) < REPEAT_S:
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return
        self._last_logged_s[kind] = now_s
        suppressed = self._suppressed.pop(kind, 0)
        more: dict[str, object] = {"suppressed": suppressed} if suppressed else {}
        self.log.event(level, event, reason=reason, **fields, **more)


def _slots_of(loaded: Loaded) -> list[LiveTable]:
    """The tables of the policy, and of the shadow if there is one; each once."""
    shadow = loaded.shadow.slots if loaded.shadow else {}
    return list(dict.fromkeys((*loaded.slots.values(), *shadow.values())))


def _close_all(loaded: Loaded, *, but: Loaded) -> None:
    kept = _slots_of(but)
    for slot in _slots_of(loaded):
        if slot not in kept:
            slot.close()


def _is_logged(line: Line, decisions: str) -> bool:
    return decisions == "all" or (decisions == "acted" and line.action.verb != "DUNNO")
