"""The page State: what is remembered, one key, and to forget it with a reason."""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.rights import Right, may
from forkpolicy.console.errors import UserMistake
from forkpolicy.console.links import state_key
from forkpolicy.console.page import Page, Redirect, Rows
from forkpolicy.console.state.funnel import funnels
from forkpolicy.console.state.remembered import MOST_RECORDS, Remembered, look, of_key
from forkpolicy.control_messages import StateForgetCommand, StateReply, StateResetCommand
from forkpolicy.redis_urls import is_redis_url
from forkpolicy.state.changing import change
from forkpolicy.state.listing import Wanted, records
from forkpolicy.state.redis.opening import open_store
from forkpolicy.status_document import StatusDocument
from forkpolicy.tables.keys import fold_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.console.visit import Visit

_TIMEOUT_S: Final = 10.0
_LONGEST_REASON: Final = 200
_COLUMNS: Final = ("kind", "name", "key", "text", "ends")


def show(visit: Visit) -> Page:
    """All of it, or the records of `name` and `key`."""
    name, key = visit.text("name", most=200), _keys(visit)
    if name:
        return _show_key(visit, name, key)
    looks = visit.known("the server", visit.parts.now.looks.now)
    status = looks[1] if looks else None
    loaded = visit.known("the policy", visit.parts.change.drafts.now)
    seen = (
        visit.known("what is remembered", lambda: look(visit.parts.remembered, loaded))
        if status is None or status.state
        else None
    )
    asked = StatusDocument.of(status).asked if status else None
    waiting = seen.waiting if seen and seen.kinds["greylisting"].is_all else None
    data: dict[str, object] = {
        "state": status.state if status else None,
        "is_known": status is not None,
        "remembers": loaded.remembers if loaded else None,
        "near": seen.near if seen else None,
        "kinds": {kind: asdict(each) for kind, each in seen.kinds.items()} if seen else {},
        "waiting": seen.waiting if seen else None,
        "passing": seen.passing if seen else None,
        "names": [{"kind": kind, "name": each, "records": count} for (kind, each), count in sorted(seen.names.items())]
        if seen
        else [],
        "funnels": funnels(asked.answered, waiting) if asked else None,
        "evicted": asked.evicted if asked else None,
        "uptime_s": status.uptime_s if status else None,
    }
    rows = Rows(_COLUMNS, _every(visit))
    return Page("state", "State", _sentence(data, seen), data, "forkpolicy state list", rows)


def _every(visit: Visit) -> Iterator[Sequence[object]]:
    """All records, as they are read."""
    for shown, _ in records(visit.parts.remembered, Wanted()):
        yield shown.kind, shown.name, " ".join(shown.key), shown.text, shown.ends_s


def _sentence(data: dict[str, object], seen: Remembered | None) -> str:
    if data["is_known"] and data["state"] is None:
        return "The policy remembers nothing: it has no limit, no greylisting and no list."
    if seen is None:
        return "What is remembered cannot be known now."
    near = f"{len(seen.near)} key{'s are' if len(seen.near) != 1 else ' is'} near a limit"
    waits = f"{seen.waiting:,} greylisted triplet{'s wait' if seen.waiting != 1 else ' waits'}"
    part = "" if all(each.is_all for each in seen.kinds.values()) else ", among the first records of each kind"
    return f"{near}, {waits}{part}."


def _show_key(visit: Visit, name: str, key: tuple[str, ...]) -> Page:
    wanted = Wanted(name=name, key=key)
    found = visit.known("what is remembered", lambda: of_key(visit.parts.remembered, wanted))
    rows, is_all = found or ([], True)
    if found is None:
        sentence = f"Whether anything is remembered{wanted.text} cannot be known now."
    elif not rows:
        sentence = f"Nothing is remembered{wanted.text}."
    else:
        count = f"{len(rows):,} record{'s' * (len(rows) != 1)}" if is_all else f"More than {MOST_RECORDS} records"
        sentence = f"{count}{wanted.text}."
    listed = any(row["kind"] == "listed" for row in rows)
    data: dict[str, object] = {
        "name": name,
        "key": shlex.join(key),
        "records": rows,
        "is_all": is_all,
        "is_list": listed,
        "done": visit.text("done", most=20),
        "may_forget": may(visit.account.role, Right.CHANGE_STATE),
    }
    lines = ((row["kind"], row["name"], " ".join(_texts(row["key"])), row["text"], row["ends_s"]) for row in rows)
    words = shlex.join([name, *key])
    command = f"forkpolicy state show {words}" if key else f"forkpolicy state list {words}"
    return Page(
        "state_key", f"State of {name}", sentence, data, command, Rows(("kind", "name", "key", "text", "ends"), lines)
    )


def _texts(key: object) -> list[str]:
    return [str(each) for each in key] if isinstance(key, list) else []


def forget(visit: Visit) -> Redirect:
    """Forget one key of an ACL, or take it off a list; never all of an ACL. Raises UserMistake."""
    name, key, reason = visit.text("name", most=200), _keys(visit), visit.text("reason", most=_LONGEST_REASON)
    if not name or not key:
        raise UserMistake("name and key: say what is to be forgotten", "key")
    if not reason:
        raise UserMistake("reason: say why, for those who look at the audit later", "reason")
    is_list = visit.text("kind", most=20) == "listed"
    command = StateForgetCommand(name, key) if is_list else StateResetCommand(name, key)
    visit.note("taken off a list" if is_list else "forgotten", shlex.join((name, *key)), reason)
    changed = _change(visit, command)
    return Redirect(state_key(name, key, done=changed))


def _change(visit: Visit, command: StateForgetCommand | StateResetCommand) -> int:
    """How many records were forgotten. Raises NotRunningError, StateError."""
    settings = visit.parts.settings
    if is_redis_url(settings.state.url):
        with closing(open_store(settings.state)) as store:
            return change(store, command)
    name = "state-forget" if isinstance(command, StateForgetCommand) else "state-reset"
    return visit.parts.ask(StateReply, {"command": name, **asdict(command)}, _TIMEOUT_S).changed


def _keys(visit: Visit) -> tuple[str, ...]:
    """The parts of a key, quoted as a shell has them where they have blanks. Raises UserMistake."""
    text = visit.text("key", most=2000)
    try:
        return tuple(map(fold_text, shlex.split(text)))
    except ValueError as error:
        raise UserMistake(f"key: {error}: write a quotation mark at both ends of a part", "key") from error
