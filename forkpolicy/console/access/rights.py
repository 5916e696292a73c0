"""What each role may do: the one table that every route is checked against."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """The role of an account."""

    ADMIN = "admin"
    OPERATOR = "operator"
    DOMAIN = "domain"
    USER = "user"


class Right(StrEnum):
    """What a route needs. OPEN: nothing, not even an account. SIGNED_IN: any account."""

    OPEN = "open"
    SIGNED_IN = "signed in"
    SEE_SERVER = "see the server"
    SEE_DECISIONS = "see decisions"
    SEE_HELD = "see held mail"
    READ_HELD = "read held mail"
    ACT_ON_HELD = "release or delete held mail"
    SEE_TRAINING = "see what the scanner learnt"
    CHANGE = "change"
    CHANGE_STATE = "change what is remembered"
    MANAGE_ACCOUNTS = "manage accounts"


_OF_ALL: Final = frozenset({Right.OPEN, Right.SIGNED_IN, Right.SEE_DECISIONS, Right.SEE_HELD})
_OF_HELD: Final = frozenset({Right.READ_HELD, Right.ACT_ON_HELD})
RIGHTS: Final = MappingProxyType(
    {
        Role.ADMIN: frozenset(Right),
        Role.OPERATOR: _OF_ALL | {Right.SEE_SERVER},
        Role.DOMAIN: _OF_ALL | _OF_HELD,
        Role.USER: _OF_ALL | _OF_HELD,
    }
)


def may(role: Role | None, right: Right) -> bool:
    """Whether an account of that role has a right; None: nobody has signed in."""
    return right is Right.OPEN if role is None else right in RIGHTS[role]
