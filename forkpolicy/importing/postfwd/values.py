"""The values of an item: lists with commas, files, negations. Reads files; raises CannotError and ConfigError."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.errors import ConfigError
from forkpolicy.importing.postfwd.cannot import CannotError, Notes
from forkpolicy.importing.postfwd.perl import unnegated
from forkpolicy.importing.source import read_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.files import Files
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.postfwd.syntax import Item

_LISTS = frozenset(
    """client_address sender_ns_addrs sender_mx_addrs helo_address date time days months
    rbl rhsbl rhsbl_client rhsbl_helo rhsbl_sender rhsbl_reverse_client""".split()  # noqa: SIM905
)
_FILE = re.compile(r"([cl]?file|[cl]?table):(.+)", re.IGNORECASE | re.DOTALL)
_LAST_WORD = re.compile(r"\s+\S+$", re.ASCII)
# Files name files; postfwd follows them without end.
_MAX_DEPTH = 8
LIVE = (
    "postfwd reads the file again when it changes; its entries of today are in the policy: import again, or let a table"
    " read it"
)


class Value(NamedTuple):
    """One value of an item. `negated`: it had `!!` in front."""

    operator: str
    text: str
    negated: bool
    origin: Origin


def values_of(item: Item, files: Files, notes: Notes) -> Iterator[Value]:
    """The values in order, those of files in place of their names."""
    texts = item.value.split(",") if item.key in _LISTS else [item.value]
    for text in texts:
        for each, origin in _listed(text.strip(), item.origin, files, notes, _MAX_DEPTH):
            plain = unnegated(each)
            if plain and _FILE.fullmatch(plain):
                raise CannotError(f'"{each}": postfwd takes the name of a negated file for the value itself')
            yield Value(item.operator, plain or each, bool(plain), origin)


def _listed(text: str, origin: Origin, files: Files, notes: Notes, depth: int) -> Iterator[tuple[str, Origin]]:
    found = _FILE.fullmatch(text)
    if not found:
        # What postfwd keeps with the operator in front, and splits at the first semicolon.
        text = text.partition(";")[0]
        if not text:
            raise CannotError("an empty value")
        yield text, origin
        return
    kind, path = found[1].lower(), found[2]
    if not depth:
        raise CannotError(f"{path}: files name files too deep")
    if kind[0] == "l":
        notes.add(f"{path}: {LIVE}", origin)
    try:
        source = read_source(path, files)
    except ConfigError as error:
        raise CannotError(f"{error.diagnostics[0].message} ({path})") from error
    for at, raw in enumerate(source.lines, 1):
        line = raw.partition("#")[0]
        if line.strip():
            entry = _LAST_WORD.sub("", line) if kind.endswith("table") else line
            yield from _listed(entry.strip(), source.origin(at), files, notes, depth - 1)
