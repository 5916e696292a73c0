"""Whether a type of ACL takes values that an importer made, as the loader will say. Pure.

Values that refer to something (a table, an attribute, a file) are left to the loader, and so are types made of such.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from forkpolicy.files import SnapshotFiles
from forkpolicy.policy.matchers.context import BuildContext
from forkpolicy.policy.matchers.types import build_matchers
from forkpolicy.policy.nodes import Place, Word
from forkpolicy.tables.keys import parse_network_spec
from forkpolicy.tables.names import parse_address_pattern, parse_host_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_REFERS: Final = frozenset({"any", "asn", "country", "distinct", "listed", "rate", "rhsbl", "service"})
_NOWHERE: Final = Place("", 1, 1)
# What nearly all values are that a type takes: parsed in a third of the time that a matcher takes to build.
_COMMON: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/-]*", re.ASCII).fullmatch
_PARSERS: Final[dict[str, Callable[[str], object]]] = {
    **dict.fromkeys(("sender", "recipient", "sasl_sender"), parse_address_pattern),
    **dict.fromkeys(("client_name", "reverse_client_name", "helo_name"), parse_host_pattern),
    "client_address": parse_network_spec,
}


def refuse_values(type_name: str, values: Sequence[str]) -> None:
    """Raises ValueError, with the loader's reason, for values that the type does not take."""
    if type_name in _REFERS or type_name.startswith("table:"):
        return
    parser = _PARSERS.get(type_name)
    if parser and all(map(_COMMON, values)):
        for value in values:
            if value.lower() != "silent":
                parser(value)
        return
    own = [Word(value, _NOWHERE) for value in values if value.lower() != "silent" and not _refers(value)]
    if values and not own:
        return
    context = BuildContext(SnapshotFiles({}), {}, acl="x")
    build_matchers(Word(type_name, _NOWHERE), own, context)
    wrong = next((each for each in context.diagnostics if each.severity == "error"), None)
    if wrong:
        raise ValueError(wrong.message)


def _refers(value: str) -> bool:
    return value.startswith(("table:", "{")) or (value.startswith("/") and not value.endswith("/"))
