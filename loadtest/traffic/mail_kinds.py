"""The kinds of mail that a day is made of, each a function that makes one. Which verdict is right is not known here.

A kind draws from a `Site`: its own domains and clients, and everybody else's.
"""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.traffic.mail import Transaction

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "info", "office", "ceo")
# An address that no person has.
TRAP = "trap@example.com"
OTHERS = ("example.org", "mail.example.org", "shop.example", "news.example", "university.example", "badexample.com")


_network = functools.lru_cache(4096)(ipaddress.ip_network)


@dataclass(frozen=True, slots=True)
class Site:
    """Where addresses and clients are drawn from."""

    rng: random.Random
    domains: Sequence[str]
    inside: Sequence[str]
    outside: Sequence[str]

    def ours(self) -> str:
        """An address in one of the site's domains."""
        return f"{self.person()}@{self.domain()}"

    def others(self) -> str:
        """An address of another site."""
        return f"{self.person()}@{self.rng.choice(OTHERS)}"

    def person(self) -> str:
        """A local part: mostly well-known ones, and often an invented one."""
        name = self.rng.choice(PEOPLE)
        return f"{name}{self.rng.randrange(1000)}" if self.rng.random() < 0.5 else name

    def domain(self) -> str:
        """One of the site's domains, or a subdomain where the table has all of them."""
        domain = self.rng.choice(self.domains)
        return f"mail{self.rng.randrange(10)}{domain}" if domain.startswith(".") else domain

    def client(self, *, inside: bool = False) -> str:
        """An address in one of the networks, inside or outside."""
        network = _network(self.rng.choice(self.inside if inside else self.outside))
        return str(network[self.rng.randrange(network.num_addresses)])


def forged(site: Site) -> Transaction:
    """In our name to us, by a stranger: what the policy is for."""
    return Transaction("forged", site.client(), site.ours(), (site.ours(),), helo=site.rng.choice(OTHERS))


def elsewhere(site: Site) -> Transaction:
    """Ordinary mail from another site."""
    return Transaction("elsewhere", site.client(), site.others(), (site.ours(),), client_name="mx.example.org")


def road_warrior(site: Site) -> Transaction:
    """One of us, on the road, signed in."""
    sender, method = site.ours(), site.rng.choice(("PLAIN", "LOGIN"))
    to = site.ours() if site.rng.random() < 0.7 else site.others()
    return Transaction("road_warrior", site.client(), sender, (to,), login=sender, method=method)


def failed_auth(site: Site) -> Transaction:
    """A stranger who guesses a password, fails, and tries all the same."""
    sender, method = site.ours(), site.rng.choice(("PLAIN", "LOGIN"))
    return Transaction(
        "failed_auth", site.client(), sender, (site.ours(),), login=sender, method=method, wrong_password=True
    )


def inside(site: Site) -> Transaction:
    """One of our own machines."""
    to = site.ours() if site.rng.random() < 0.7 else site.others()
    return Transaction("inside", site.client(inside=True), site.ours(), (to,), client_name="pc.example.com")


def bounce(site: Site) -> Transaction:
    """The null sender, from everywhere."""
    return Transaction("bounce", site.client(), "", (site.ours(),), client_name="mx.example.org")


def mailing_list(site: Site) -> Transaction:
    """A list that writes its own envelope sender, with our address inside it."""
    to = site.ours()
    sender = f"list-bounces+{to.replace('@', '=')}@lists.example.org"
    return Transaction("mailing_list", site.client(), sender, (to,), client_name="lists.example.org")


def forwarder(site: Site) -> Transaction:
    """A forwarder that rewrites the sender (SRS), or an old one that does not and looks like a forger."""
    to, sender = site.ours(), site.ours()
    local, _, domain = sender.partition("@")
    if site.rng.random() < 0.7:
        sender = f"SRS0={site.rng.randrange(4096):03x}=XY={domain}={local}@forwarder.example"
    return Transaction("forwarder", site.client(), sender, (to,), client_name="forwarder.example")


def several(site: Site) -> Transaction:
    """In our name to many: some are ours, and each has its own verdict."""
    count = site.rng.randrange(2, 12)
    recipients = tuple(site.ours() if site.rng.random() < 0.6 else site.others() for _ in range(count))
    return Transaction("several", site.client(), site.ours(), recipients)


def odd(site: Site) -> Transaction:
    """Addresses that are legal and look wrong, of ours and of others."""
    domain = site.domain()
    shapes = (
        f'"john doe"@{domain}',
        f'"a@b"@{domain}',
        f'"x@{domain}"@example.org',
        f"alice%{domain}@example.org",
        f"u@{domain}.example.org",
        f"ALICE@{domain.upper()}",
        f"alice+news@{domain}",
        f"o'neil/x@{domain}",
        f"{'x' * 64}@{domain}",
        f"u@not{domain}",
    )
    return Transaction("odd", site.client(), site.rng.choice(shapes), (site.ours(),))


def newcomer(site: Site) -> Transaction:
    """A mail server that nobody knows, and that comes again whenever its mail is deferred."""
    sender = f"{site.person()}{site.rng.randrange(10**6)}@{site.rng.choice(OTHERS)}"
    return Transaction("newcomer", site.client(), sender, (site.ours(),), client_name="mx.example.org")


def spambot(site: Site) -> Transaction:
    """A stranger who does not come again."""
    sender = f"offer{site.rng.randrange(10**6)}@{site.rng.choice(OTHERS)}"
    return Transaction("spambot", site.client(), sender, (site.ours(),))


def busy_login(site: Site) -> Transaction:
    """One of a few of us who send much, each from one place."""
    number = site.rng.randrange(8)
    return _signed_in("busy_login", site, f"busy{number}@example.com", f"198.18.7.{number}")


def hijacked(site: Site) -> Transaction:
    """One of a few of us whose password others have: from everywhere."""
    return _signed_in("hijacked", site, f"victim{site.rng.randrange(4)}@example.com", site.client())


def prober(site: Site) -> Transaction:
    """One of a few strangers who try addresses, and at times one that nobody has."""
    to = TRAP if site.rng.random() < 0.2 else site.ours()
    return Transaction("prober", f"203.0.113.{site.rng.randrange(12)}", site.others(), (to,))


def _signed_in(kind: str, site: Site, login: str, client: str) -> Transaction:
    return Transaction(kind, client, login, (site.others(),), login=login, method=site.rng.choice(("PLAIN", "LOGIN")))


KINDS: dict[str, Callable[[Site], Transaction]] = {
    each.__name__: each
    for each in (
        *(forged, elsewhere, road_warrior, failed_auth, inside, bounce, mailing_list, forwarder, several, odd),
        *(newcomer, spambot, busy_login, hijacked, prober),
    )
}

# Kinds of mail that come again, and how many seconds after each deferral: too early, and late enough.
RETRIES: dict[str, tuple[float, ...]] = {"newcomer": (1.0, 4.5, 2.0), "elsewhere": (4.5,)}
