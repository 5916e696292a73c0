"""What Postfix will make of an envelope address that it asks about: it asks first and rewrites afterwards.

A policy request has an address as the client gave it, without its quotes. `Rewriting` turns it into the one that the
mail will be delivered to (recipient) or answered to (sender), by Postfix's own steps, read in its sources and compared
with a running Postfix by tests/postfix/test_rewriting.py:

1. cleanup(8), by trivial-rewrite(8) rewrite.c: a source route is dropped; without an `@`, `domain!user` is turned round
   (swap_bangpath), else `user%domain` (allow_percent_hack), else myorigin is appended (append_at_myorigin); a domain
   without a dot gets mydomain (append_dot_mydomain); one trailing dot goes.
2. qmgr(8), by trivial-rewrite(8) resolve.c: while the domain is local (mydestination, or a literal of this machine), it
   is taken off, and what is in front of it is opened and goes through step 1, also where it was quoted
   (resolve_dequoted_address).
3. Ours: `user@localhost` and `user@[127.0.0.1]` are the mailbox that `user@myorigin` is, so policies see that.

The common address (one `@`, no `!` and `%`, a dot in its domain) is what it is: `PLAIN` finds it, in a quarter of a
microsecond, and where its domain alone is asked for, `View.known_domain` in less than taking the domain out costs.
Pure, and never raises: what cannot be parsed stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from socket import inet_aton
from typing import TYPE_CHECKING, Final

from forkpolicy.tables.keys import MAX_NAME_CHARS, domain_names, fold_domain, ip_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkpolicy.protocol.layout import Values


class View:
    """How policies see one attribute that is an address: call it for the address.

    `known_domain` is what nearly every address costs: for what follows its first `@`, the same where that is a domain
    which nothing in front of it could change, else None. `domain` remembers for it.
    """

    def __init__(self, address: Callable[[str], str], names: frozenset[str]) -> None:
        self.address = address
        self._names = names
        self._known: dict[str, str] = {}
        # Domains of ours, as clients spell them: with a local part that asks for nothing they stay what they are.
        self._ours: dict[str, str] = {}
        self.known_domain = self._known.get

    def __call__(self, address: str) -> str:
        """What a policy sees of an address."""
        return self.address(address)

    def domain(self, address: str) -> str:
        """The domain of what a policy sees of an address; "" when it has none."""
        local, _, domain = address.partition("@")
        if domain in self._ours and local and "%" not in local and "!" not in local:
            return domain
        if _PLAIN_DOMAIN(domain):
            is_foreign = self._names.isdisjoint(domain_names(domain))
            _remember(domain, self._known if is_foreign else self._ours)
            if is_foreign:
                return domain
        seen = self.address(address)
        return seen.rpartition("@")[2] if "@" in seen else ""


def _remember(domain: str, domains: dict[str, str]) -> None:
    if len(domains) >= REMEMBERED_DOMAINS:
        domains.clear()
    if len(domain) <= MAX_NAME_CHARS:
        domains[domain] = domain


Views = Mapping[str, View]
"""By the name of the attribute."""

# A domain that no step above changes. Names below localhost, and with the colon of a source route, are left to the
# careful way.
_DOMAIN: Final = r'(?!(?i:localhost)\.)(?:[^\x00-\x20":\\@.\[\]]++\.)++[^\x00-\x20":\\@.\[\]]++'
_PLAIN_DOMAIN: Final = re.compile(_DOMAIN).fullmatch
# An address that no step above changes.
PLAIN: Final = re.compile(f"[^@!%]++@{_DOMAIN}").fullmatch
# A worker meets the same domains again and again; those that are too long to be one are not remembered.
REMEMBERED_DOMAINS: Final = 4096
# Step 2 takes turns. Postfix takes as many as it needs; a policy has other requests to serve, and no real address
# nests twenty. What is still at a local domain then is local.
MAX_TURNS: Final = 20
# RFC 822: a local part that is not a dot-string stands in quotes while Postfix works on it (quote_822_local.c).
_QUOTED: Final = re.compile(r'[\x00-\x20\x7f()<>@,;:\\"\[\]]|\A\.|\.\.|\.\Z').search
_ROUTE: Final = re.compile(r"@(?:\[[^\]]*+\]|[^:\[])*+:").match
# What a domain loses as its tokens are put together again: quotes, then blanks that keep no two words apart. A run of
# blanks is looked at from its first one only: from each of them, a long one took its length squared.
_QUOTES: Final = re.compile(r'["\\]').sub
_BLANKS: Final = re.compile(r"(?:(?<=\.)|\A)\s++|(?<!\s)\s++(?=\.|\Z)").sub
_IN_QUOTES: Final = re.compile(r'"(?:\\.|[^"\\])*+"?', re.DOTALL).sub
# As tok822_parse.c reads a text: what stands in quotes, brackets or parentheses has no operators.
_UP_TO_BANG: Final = re.compile(
    r'((?:\\.|"(?:\\.|[^"\\])*+(?:"|\Z)|\[[^\]]*+(?:\]|\Z)|\([^)]*+(?:\)|\Z)|[^!"\[(\\])*+)!(.*)', re.DOTALL
).fullmatch
_FOUR_NUMBERS: Final = re.compile(r"[0-9]++(?:\.[0-9]++){3}").fullmatch
_LOCALHOST: Final = ("localhost", "localhost.localdomain")
_OWN_V4, _OWN_V6 = b"4\x7f", ip_key("::1")


class Rewriting:
    """One Postfix's ways. `myorigin` and `mydomain` may be empty: unknown, and none."""

    def __init__(
        self,
        *,
        myorigin: str = "",
        mydomain: str = "",
        local_domains: Iterable[str] = (),
        local_addresses: Iterable[str] = (),
    ) -> None:
        """`local_domains`: mydestination; `local_addresses`: this machine's own, except 127.0.0.0/8 and ::1."""
        self._mydomain = mydomain
        self._origin = self._whole(myorigin)
        names = {fold_domain(name) for name in local_domains}
        localhost = {*_LOCALHOST, *([f"localhost.{fold_domain(mydomain)}"] if mydomain else [])}
        self._localhost = localhost | {name for name in names if name.startswith("localhost.")}
        self._names = frozenset(names - self._localhost)
        self._addresses = {ip_key(address) for address in local_addresses}
        sender, recipient = View(self.sender, self._names), View(self.recipient, self._names)
        self.views: Views = {"sender": sender, "recipient": recipient, "sasl_sender": sender}

    def recipient(self, address: str) -> str:
        """The address that mail to `address` will be delivered to; without an `@` where myorigin is not known."""
        if not address or PLAIN(address):
            return address
        return self._at_origin(self._resolved(self._rewritten(address))) or address

    def sender(self, address: str) -> str:
        """The address that mail from `address` claims to be from: the one that is answered to.

        Where that is not one of ours but `address` is at a name of ours (`user%example.org@example.com`), it stays
        there: that is what the mail will show.
        """
        if not address or PLAIN(address):
            return address
        rewritten = self._rewritten(address)
        answered = self._resolved(rewritten)
        stays = self._is_named(rewritten.rpartition("@")[2]) and not self._is_ours(answered)
        return self._at_origin(rewritten if stays else answered) or address

    def _rewritten(self, address: str) -> str:
        """Step 1."""
        if route := _ROUTE(address):
            address = address[route.end() :]
        if "@" not in address:
            address = self._completed(address)
        local, at, domain = address.rpartition("@")
        return f"{local}@{self._whole(domain)}" if at else address

    def _completed(self, address: str) -> str:
        if not _QUOTED(address):
            if "!" in address:
                domain, _, local = address.partition("!")
                return f"{local}@{domain}"
            if "%" in address:
                return "@".join(address.rsplit("%", 1))
        return self._originated(address)

    def _originated(self, local: str) -> str:
        return f"{local}@{self._origin}" if self._origin else local

    def _whole(self, domain: str) -> str:
        dotted = "." in _IN_QUOTES("", domain)
        domain = _BLANKS("", _QUOTES("", domain))
        if domain[:1] == "[" and "]" not in domain:
            # Postfix closes a literal that its writer left open.
            domain += "]"
        if self._mydomain and domain and not dotted and domain[0] != "[":
            return f"{domain}.{self._mydomain}"
        return domain[:-1] if len(domain) > 1 and domain[-1] == "." and domain[-2] != "." else domain

    def _resolved(self, address: str) -> str:
        """Step 2."""
        for _ in range(MAX_TURNS):
            local, at, domain = address.rpartition("@")
            if at and not self._is_local(domain):
                break
            opened = self._opened(local if at else domain)
            if opened in (None, address):
                break
            address = self._rewritten(opened)
        return address

    def _opened(self, local: str) -> str | None:
        """A local part as the address that it asks to be sent on to; None when it asks for nothing."""
        if "@" in local or not _QUOTED(local):
            return local if any(mark in local for mark in "@!%") else None
        # Only in quotes does `%` come before `!`.
        if "%" in local:
            return "@".join(local.rsplit("%", 1))
        if "!" in local:
            swapped = _UP_TO_BANG(local)
            return f"{swapped[2]}@{swapped[1]}" if swapped else self._originated(local)
        return None

    def _at_origin(self, address: str) -> str:
        """Step 3."""
        local, at, domain = address.rpartition("@")
        return self._originated(local) if domain and at and self._is_nameless(domain) else address

    def _is_ours(self, address: str) -> bool:
        return "@" not in address or self._is_local(address.rpartition("@")[2])

    def _is_local(self, domain: str) -> bool:
        return self._is_named(domain) or self._is_nameless(domain)

    def _is_named(self, domain: str) -> bool:
        return not self._names.isdisjoint(domain_names(domain))

    def _is_nameless(self, domain: str) -> bool:
        """Whether it is this machine by a name that all machines have. Postfix takes an empty one off, too."""
        return not domain or fold_domain(domain) in self._localhost or self._is_own_literal(domain)

    def _is_own_literal(self, domain: str) -> bool:
        if domain[:1] != "[" or domain[-1:] != "]":
            return False
        tagged = domain[1:6].lower() == "ipv6:"
        key = ip_key(domain[6:-1] if tagged else domain[1:-1]) or _octal_key(domain[1:-1])
        # A mapped address is not one of Postfix's own, and IPv6 without its tag is not an address.
        if key is None or tagged is not (key[:1] == b"6"):
            return False
        return key.startswith(_OWN_V4) or key == _OWN_V6 or key in self._addresses


def _octal_key(text: str) -> bytes | None:
    """The key of an IPv4 address with leading zeros, which Postfix leaves to getaddrinfo(3): they mean octal."""
    try:
        return b"4" + inet_aton(text) if _FOUR_NUMBERS(text) else None
    except OSError:
        return None


def door(wanted: Sequence[str], views: Views) -> Callable[[Values], Values]:
    """A function that turns the values of `wanted` as they came into those that a policy sees."""
    seen = [(at, views[name]) for at, name in enumerate(wanted) if name in views]

    def understood(values: Values) -> Values:
        for at, view in seen:
            value = values[at]
            if value and not PLAIN(value):
                values = (*values[:at], view(value), *values[at + 1 :])
        return values

    return understood
