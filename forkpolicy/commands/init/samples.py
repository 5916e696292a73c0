"""Three mails with the site's own domain that show what the draft decides. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.tables.keys import ip_key, parse_network

if TYPE_CHECKING:
    from forkpolicy.commands.init.site import Site

# Of the networks for documentation, RFC 5737 and RFC 3849: none of them is anybody's.
_OUTSIDE_V4: Final = ("203.0.113.5", "198.51.100.5", "192.0.2.5")
_OUTSIDE_V6: Final = ("2001:db8:bad::5", "3fff:bad::5")
_PARTNERS: Final = ("partner.example", "customer.example", "example.org", "example.net")


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail, and how the reply to it must begin."""

    title: str
    client: str
    sender: str
    recipient: str
    login: str
    expected: str

    @property
    def request(self) -> dict[str, str]:
        """Its attributes."""
        method = "PLAIN" if self.login else ""
        return {
            "client_address": self.client,
            "client_name": "unknown",
            "sender": self.sender,
            "recipient": self.recipient,
            "sasl_username": self.login,
            "sasl_method": method,
        }


def sample_mails(site: Site) -> list[Mail]:
    """The mails."""
    domain, client = site.sample_domain, _outside(site)
    boss, staff = f"boss@{domain}", f"staff@{domain}"
    ours = {*site.named, *(name for listed in site.domains for name in listed.entries)}
    partner = next((each for each in _PARTNERS if ours.isdisjoint((each, f".{each}"))), "partner.invalid")
    return [
        Mail("forged, from outside", client, boss, staff, "", "REJECT"),
        Mail("a partner's mail", client, f"anna@{partner}", staff, "", "DUNNO"),
        Mail("a road warrior who has signed in", client, boss, staff, boss, "DUNNO"),
    ]


def _outside(site: Site) -> str:
    """An address that no network of the site has."""
    networks = [parse_network(each, allow_wide=True) for each in site.networks.entries]
    candidates = _OUTSIDE_V6 if site.parameters["inet_protocols"] == "ipv6" else (*_OUTSIDE_V4, *_OUTSIDE_V6)
    keys = {each: ip_key(each) or b"" for each in candidates}
    free = (each for each, key in keys.items() if not any(first <= key <= last for first, last in networks))
    return next(free, candidates[0])
