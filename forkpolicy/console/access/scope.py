"""Which decisions and which held mail an account may see: the one place that every page gets them from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.rights import Role
from forkpolicy.gateway import store_messages
from forkpolicy.history.scope import Confined, Scope

if TYPE_CHECKING:
    from forkpolicy.console.access.account import Account
    from forkpolicy.console.visit import Visit
    from forkpolicy.history.place import Reader

_SEE_ALL: Final = frozenset({Role.ADMIN, Role.OPERATOR})


def scope_of(account: Account) -> Scope | None:
    """None: all decisions. Of a domain: those with its recipients and those of its logins; of a user: those with own
    addresses as recipient.
    """
    if account.role in _SEE_ALL:
        return None
    if account.role is Role.DOMAIN:
        return Scope(domains=account.domains)
    return Scope(addresses=account.addresses)


def history_of(visit: Visit) -> Reader:
    """The decisions that this visitor may see, and no other one."""
    scope, history = scope_of(visit.account), visit.parts.history
    return history if scope is None else Confined(history, scope)


def held_scope(account: Account) -> store_messages.Scope:
    """Whose held mail it may see, as the store is asked: all; that of domains and own addresses; of own addresses."""
    if account.role in _SEE_ALL:
        return store_messages.Scope(everything=True)
    domains = account.domains if account.role is Role.DOMAIN else frozenset[str]()
    return store_messages.Scope(addresses=tuple(sorted(account.addresses)), domains=tuple(sorted(domains)))
