"""A Postfix as `forkpolicy init` sees it: everything that the draft and the remarks are made of, read once.

Raises PostfixError where there is no Postfix or its configuration cannot be read, and ConfigError where it has no
domain whose mail could be forged.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.commands.init.lists import MAILBOXES, RELAYED, Listed, read_domains, read_networks
from forkpolicy.commands.init.placing import Change, changes_for, raw_lists
from forkpolicy.commands.init.services import LIST, Service, other_servers, services_of
from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.postfix.parameters import PostfixError, read_postfix
from forkpolicy.postfix.postconf import PostconfError, listing, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkpolicy.postfix.parameters import Postfix


@dataclass(frozen=True, slots=True)
class Site:
    """One Postfix. `is_default`: it is the one that `postconf:` sources read; `built_in`: that of Postfix's build,
    which they read without MAIL_CONFIG. `master`: the fields of each service of master.cf. `domains`: the lists of
    those with mailboxes here. `named`: domains that the operator named. `socket`: as Postfix calls it.
    """

    postfix: Postfix
    is_default: bool
    built_in: Path
    master: tuple[tuple[str, ...], ...]
    services: tuple[Service, ...]
    domains: tuple[Listed, ...]
    relay_domains: Listed
    networks: Listed
    named: tuple[str, ...]
    socket: str
    changes: tuple[Change, ...]
    others: tuple[tuple[str, str, str], ...]

    @property
    def parameters(self) -> Mapping[str, str]:
        """Every parameter, expanded."""
        return self.postfix.parameters

    @property
    def directory(self) -> Path:
        """Its configuration directory."""
        return Path(self.postfix.directory).absolute()

    @property
    def socket_path(self) -> Path:
        """Where the server listens."""
        return Path(self.parameters["queue_directory"], self.socket.removeprefix("unix:"))

    @property
    def is_taken(self) -> bool:
        """Whether a service of master.cf has the usual socket."""
        return self.socket.startswith("unix:private/forkpolicy")

    @property
    def in_files(self) -> list[Listed]:
        """The lists of domains that are not followed and have members that a file can hold."""
        return [each for each in self.domains if not each.followed]

    @property
    def sample_domain(self) -> str:
        """A domain for examples: one that people have mailboxes in, where that can be seen. Empty: there is none."""
        virtual = [name for each in self.domains[1:] for name in each.names]
        plain = self.domains[0].names
        own = {self.parameters["myhostname"]}
        likely = [*self.named, *(name for name in plain if name == self.parameters["mydomain"]), *virtual]
        every = [*likely, *(name for name in plain if name not in own), *plain]
        return next((each for each in every if each[0] != "."), "")


@contextmanager
def reading(directory: str | None) -> Iterator[bool]:
    """Have postconf(1), and `postconf:` sources, read a directory; gives whether they do so anyway."""
    before, by_itself = os.environ.get("MAIL_CONFIG"), _read_by_itself()
    if directory is None:
        yield True
        return
    os.environ["MAIL_CONFIG"] = str(Path(directory).absolute())
    try:
        yield by_itself is not None and by_itself == Path(directory).resolve()
    finally:
        os.environ.pop("MAIL_CONFIG")
        if before is not None:
            os.environ["MAIL_CONFIG"] = before


def _read_by_itself() -> Path | None:
    try:
        return Path(value_of("config_directory")[0]).resolve()
    except PostconfError:
        return None


def read_site(
    directory: str | None, *, is_default: bool, named: Sequence[str], with_relayed: bool, instance: str
) -> Site:
    """Look at a Postfix. `instance`: of forkpolicy, by the name of its directory; empty for the usual one."""
    postfix = read_postfix(directory)
    try:
        master = tuple(tuple(line.split()) for line in listing(directory, "-M").splitlines() if line.strip())
        raw = dict(raw_lists(listing(directory, LIST), listing(directory, "-P")))
        built_in = dict(raw_lists(listing(directory, "-d"), ""))["config_directory"]
    except PostconfError as error:
        raise PostfixError(str(error)) from error
    services = tuple(services_of(postfix))
    socket = _socket(master, instance)
    mailboxes = (*MAILBOXES, *((RELAYED,) if with_relayed else ()))
    site = Site(
        postfix=postfix,
        is_default=is_default,
        built_in=Path(built_in).resolve(),
        master=master,
        services=services,
        domains=tuple(read_domains(each, postfix.parameters, can_follow=is_default) for each in mailboxes),
        relay_domains=read_domains(RELAYED, postfix.parameters, can_follow=is_default),
        networks=read_networks(postfix.parameters, can_follow=is_default),
        named=tuple(named),
        socket=socket,
        changes=tuple(changes_for(postfix, services, raw, socket)),
        others=tuple(other_servers(postfix, socket)),
    )
    if not site.sample_domain:
        raise ConfigError([_no_domain(site)])
    return site


def _socket(master: Sequence[tuple[str, ...]], instance: str) -> str:
    """The usual socket, unless a service of master.cf has that name."""
    end = f"-{instance}" if instance else ""
    taken = {service[0] for service in master if service[1] == "unix"}
    return f"unix:private/{'forkpolicy' if f'policy{end}' in taken else 'policy'}{end}"


def _no_domain(site: Site) -> Diagnostic:
    spot = site.postfix.spot("mydestination")
    problems = [problem for each in site.domains for problem in each.problems]
    relayed = site.relay_domains.names[:1]
    why = f" ({'; '.join(problems)})" if problems else ""
    message = f"no domain with mailboxes: {', '.join(each.parameter for each in site.domains)} name none{why}"
    if relayed:
        hint = f"it relays {relayed[0]}: if no other host receives mail for that, add --relay-domains; "
        hint += "a backup MX needs no such rule"
    elif problems:
        hint = "name your domains: --domain example.com --domain example.net"
    else:
        hint = "a host that receives no mail needs no policy server; otherwise name its domains: --domain example.com"
    return Diagnostic(spot.path, spot.line, 0, message, hint=hint)
