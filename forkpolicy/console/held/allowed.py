"""What an account may do with one held mail that it sees. Pure. Whose mail it sees at all: access/scope.py.

Of one's own mail nobody needs a reason to read it; an administrator gives one for that of others. A virus is released
and read by administrators of the whole site alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.rights import Right, Role, may
from forkpolicy.gateway.releasing import VIRUS, recipient_may_release
from forkpolicy.tables.keys import fold_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.console.access.account import Account
    from forkpolicy.gateway.domains import Domain
    from forkpolicy.gateway.store_messages import HeldRow

WAITS: Final = "held"


@dataclass(frozen=True, slots=True)
class Allowed:
    """`needs_reason`: for `read`, and it is audited. `request`: to ask an administrator for its release."""

    is_own: bool
    read: bool
    needs_reason: bool
    release: bool
    delete: bool
    request: bool


def allowed(account: Account, row: HeldRow, domains: Mapping[str, Domain]) -> Allowed:
    """For a row that the account sees."""
    is_own = fold_address(row.recipient) in account.addresses
    is_admin = account.role is Role.ADMIN
    is_virus = row.cause == VIRUS
    may_act = may(account.role, Right.ACT_ON_HELD) and row.state == WAITS
    may_release = is_admin or (
        not is_virus if account.role is Role.DOMAIN else recipient_may_release(row.cause, row.recipient, domains)
    )
    return Allowed(
        is_own=is_own,
        read=may(account.role, Right.READ_HELD) and (is_admin or not is_virus),
        needs_reason=not is_own,
        release=may_act and may_release,
        delete=may_act,
        request=may_act and not may_release and not row.requested_by,
    )
