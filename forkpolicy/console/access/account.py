"""An account as pages see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forkpolicy.console.access.rights import Role


@dataclass(frozen=True, slots=True)
class Account:
    """Who has signed in, with the role that holds from where that was. Domains and addresses are folded."""

    name: str
    role: Role
    domains: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
