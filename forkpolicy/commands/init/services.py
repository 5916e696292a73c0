"""The services of a master.cf as `init` sees them: who talks to each smtpd, and the other policy servers.

Facts only. Raises PostfixError as `read_postfix` does.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.postfix.lists import split_list
from forkpolicy.postfix.restrictions import find_call_sites

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.postfix.parameters import Postfix, Smtpd

LIST: Final = "smtpd_recipient_restrictions"
# Clients that the founding rule does not concern.
TRUSTING: Final = frozenset(
    {"permit_mynetworks", "permit_sasl_authenticated", "permit_tls_clientcerts", "permit_tls_all_clientcerts"}
)
_SUBMISSION: Final = frozenset({"submission", "submissions", "smtps", "587", "465"})
# Where others listen by default, who that is, and the format of `forkpolicy import` that reads their rules.
_OTHERS: Final = (
    (r"127\.0\.0\.1:10023|:10023$|postgrey", "postgrey", "postgrey"),
    (r":1004[05]$|postfwd", "postfwd", "postfwd"),
    (r":10031$|cluebringer|policyd2", "policyd (cluebringer)", "cluebringer"),
    (r":777[0-9]$|iredapd", "iRedAPD", "iredapd"),
    (r":10001$|apolicy", "apolicy", "apolicy"),
)


class Role(enum.Enum):
    """Who the clients of an smtpd are."""

    OUTSIDE = "mail from outside"
    SUBMISSION = "users who sign in"
    INSIDE = "programs on this machine"


@dataclass(frozen=True, slots=True)
class Service:
    """One smtpd; `own_list`: it has recipient restrictions of its own."""

    smtpd: Smtpd
    role: Role

    @property
    def name(self) -> str:
        """As postconf(1) writes it: `smtp/inet`."""
        return self.smtpd.name

    @property
    def own_list(self) -> bool:
        """Whether main.cf's list does not count for it."""
        return LIST in self.smtpd.own


def services_of(postfix: Postfix) -> list[Service]:
    """Every smtpd of master.cf, in its order."""
    return [Service(each, _role(each)) for each in postfix.services]


def _role(smtpd: Smtpd) -> Role:
    host, _, port = smtpd.name.rpartition("/")[0].rpartition(":")
    # Behind a proxy that names the client, who connects is not who talks.
    is_near = re.fullmatch(r"127\..*|localhost|::1", host.strip("[]")) or smtpd.name.endswith("/unix")
    if is_near and not smtpd.values.get("smtpd_upstream_proxy_protocol"):
        return Role.INSIDE
    if port in _SUBMISSION:
        return Role.SUBMISSION
    words = _closed(smtpd)
    if words:
        return Role.SUBMISSION if "permit_sasl_authenticated" in words else Role.INSIDE
    return Role.OUTSIDE


def _closed(smtpd: Smtpd) -> list[str]:
    """The words of a list of its own that lets nobody in but clients that are trusted; empty when there is none."""
    for name in (LIST, "smtpd_relay_restrictions"):
        words = [word.lower() for word in split_list(smtpd.values.get(name, ""))] if name in smtpd.own else []
        if words[-1:] in (["reject"], ["defer"]) and set(words[:-1]) <= TRUSTING:
            return words
    return []


def other_servers(postfix: Postfix, ours: str) -> Iterator[tuple[str, str, str]]:
    """The policy servers that are asked already: (endpoint, who listens there by default, format of `import`)."""
    for endpoint in dict.fromkeys(site.endpoint for site in find_call_sites(postfix)):
        if endpoint and endpoint != ours:
            named = next((each[1:] for each in _OTHERS if re.search(each[0], endpoint)), ("", ""))
            yield endpoint, *named
