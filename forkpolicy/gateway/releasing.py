"""Who may release held mail, apart from administrators. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.tables.keys import fold_domain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.gateway.domains import Domain

VIRUS: Final = "virus"


def recipient_may_release(cause: str, recipient: str, domains: Mapping[str, Domain]) -> bool:
    """Whether the recipient may do it, by page or by a link of a digest: never a virus; else as the domains file says
    (`release=`).
    """
    domain = domains.get(fold_domain(recipient.rpartition("@")[2]))
    return cause != VIRUS and (domain is None or domain.release == "users")
