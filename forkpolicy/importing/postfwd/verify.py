"""Whether the loader takes an ACL, asked where the values are not of a form that it always takes. Reads nothing."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from forkpolicy.errors import ConfigError
from forkpolicy.files import SnapshotFiles
from forkpolicy.importing.postfwd.cannot import CannotError
from forkpolicy.policy.load import load_policy
from forkpolicy.tables.live_table import LiveTable

# Expressions that were checked, numbers that are compared, addresses, names, days and times; terms of `any`.
_PLAIN: Final = re.compile(r"/.+/|[<>=]{0,2}\d+|[\w.@:-]+|\d[\d./:a-f]*|\{\w+\}|<>", re.ASCII | re.DOTALL)
_ASKING: Final = ("rbl", "rhsbl", "rate", "service")


def verify(type_name: str, values: tuple[str, ...]) -> None:
    """Raises CannotError with the reason of the loader."""
    if type_name in _ASKING or not all(map(_PLAIN.fullmatch, values)):
        reason = _refused(type_name, values)
        if reason:
            raise CannotError(reason)


@lru_cache(maxsize=1024)
def _refused(type_name: str, values: tuple[str, ...]) -> str:
    text = f"acl x {type_name} {' '.join(values)}\naction y DUNNO\naccess x y\n"
    try:
        load_policy(
            "policy.conf",
            lambda each: LiveTable(each.name, each.kind, ""),
            files=SnapshotFiles({"policy.conf": text.encode("utf-8", "surrogatepass")}),
        )
    except ConfigError as error:
        return error.diagnostics[0].message
    return ""
