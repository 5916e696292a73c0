"""What `forkpolicy check` finds about the name servers of a policy with DNS lists; with `--dns` it asks them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.shared.world import World
from forkpolicy.dns_settings import server_address
from forkpolicy.errors import WorldError
from forkpolicy.reachable import name_servers
from forkpolicy.settings import diagnostic_at_setting
from forkpolicy.tables.keys import fold_domain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.model import Acl, Model
    from forkpolicy.settings import Settings
    from forkpolicy.status import ZoneTest

PUBLIC: Final = frozenset(
    """8.8.8.8 8.8.4.4 2001:4860:4860::8888 2001:4860:4860::8844 1.1.1.1 1.0.0.1 2606:4700:4700::1111
    2606:4700:4700::1001 9.9.9.9 149.112.112.112 2620:fe::fe 2620:fe::9""".split()  # noqa: SIM905 - twelve addresses
)


def public_resolvers(settings: Settings, model: Model) -> Iterator[Diagnostic]:
    """DNS lists are asked at name servers that they do not answer."""
    if not model.zones:
        return
    servers = settings.dns.servers or tuple(each.removeprefix("inet:") for each in name_servers())
    asked = [each for each in servers if server_address(each) in PUBLIC]
    if asked:
        where = "" if settings.dns.servers else "/etc/resolv.conf: "
        message = f"{where}{' '.join(map(server_address, asked))}: public resolvers, which many DNS lists do not answer"
        yield _at_servers(settings, message, "run a resolver of your own and name it in [dns] servers")


def tested_lists(settings: Settings, model: Model) -> Iterator[Diagnostic]:
    """Ask each DNS list for its test entries."""
    if not model.zones:
        return
    world = World(settings.dns)
    try:
        tests, servers = world.test(model.zones), world.servers
    except WorldError as error:
        yield _at_servers(settings, str(error), "")
        return
    finally:
        world.close()
    asking = [acl for rule in model.rules for acl in rule.asked_acls if acl.asks and acl.asks.zones]
    for test in tests:
        if message := _message(test, servers):
            acl = next(each for each in asking if each.asks and test.zone in {zone.name for zone in each.asks.zones})
            yield _at_zone(acl, test.zone, message)


def _message(test: ZoneTest, servers: Sequence[str]) -> str:
    if test.wrong:
        return f"{test.zone} {test.wrong}: the server does not ask it"
    if test.undecided:
        return f"{test.zone} cannot be tested: {test.undecided} (asked: {' '.join(servers)})"
    return f"{test.zone} {test.note}" if test.note else ""


def _at_zone(acl: Acl, zone: str, message: str) -> Diagnostic:
    # A key may stand in front of it.
    named = (each for each in acl.words if fold_domain(each.text.partition("=")[0]).endswith(zone))
    return next(named, acl.word).warning(message)


def _at_servers(settings: Settings, message: str, hint: str) -> Diagnostic:
    return replace(diagnostic_at_setting(settings.path, "dns", "servers", message, hint), severity="warning")
