"""What an operator should know about this Postfix, in sentences: what was left out, and what the draft rests on. Pure,
but for a look at the names of this machine's interfaces.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.init.lists import NETWORKS, RELAYED, queries_of
from forkpolicy.commands.init.policy_text import DOMAINS_FILE, NETWORKS_FILE
from forkpolicy.commands.init.services import LIST, Role
from forkpolicy.postfix.lists import split_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.commands.init.place import Place
    from forkpolicy.commands.init.site import Site

_CONTAINERS: Final = re.compile(r"(docker|podman|cni|lxc|lxdbr|virbr|br-)")


def left_out(site: Site, place: Place) -> Iterator[str]:
    """Each member of a list that the tables do not have, and what to do about it."""
    for listed in (*site.domains, site.networks):
        spot = site.postfix.spot(listed.parameter)
        file = NETWORKS_FILE if listed.parameter == NETWORKS else DOMAINS_FILE
        if not listed.problems or (listed.parameter == "virtual_alias_domains" and not spot.line):
            continue
        where = f"{spot.path}:{spot.line}" if spot.line else spot.path
        for problem in listed.problems:
            yield f"{where}: {listed.parameter}: {problem}"
        queries = [f"{name} has {query}" for name, query in queries_of(listed)]
        known = f", or add a source sql: or ldap: ({'; '.join(queries)})" if queries else ""
        more = ", or run init with --domain NAME" if file == DOMAINS_FILE else ""
        yield f"  write what is missing into {place.directory / file}{more}{known}"


def remarks(site: Site, place: Place) -> Iterator[str]:
    """Everything else."""
    for each in _REMARKS:
        yield from each(site, place)


def _copied(site: Site, place: Place) -> Iterator[str]:
    if not site.is_default:
        yield (
            f"this Postfix is not the one that `postconf:` sources read, so its lists were copied into "
            f"{place.directory / 'tables'}: run init again when they change"
        )


def _elsewhere(_site: Site, place: Place) -> Iterator[str]:
    if place.directory.parent != Path("/etc") or not re.match(r"forkpolicy(-|$)", place.directory.name):
        yield (
            f"{place.directory} is not /etc/forkpolicy or /etc/forkpolicy-NAME, and the draft has the tables "
            f"({place.compiled}) and the socket of that server: before forkpolicy-compile, give it tables and sockets "
            "of its own, or it replaces the tables that serve"
        )


def _environment(site: Site, _place: Place) -> Iterator[str]:
    if site.is_default and site.directory.resolve() != site.built_in:
        yield (
            f"MAIL_CONFIG names this Postfix: `postconf:` sources need it wherever tables are compiled "
            f"(Environment=MAIL_CONFIG={site.directory} in a drop-in of the units)"
        )


def _relayed(site: Site, _place: Place) -> Iterator[str]:
    ours = {name for each in site.domains for name in each.names}
    names = [each for each in site.relay_domains.names if each[0] != "." and each not in ours]
    if names and site.relay_domains not in site.domains:
        yield (
            f"{RELAYED} ({_some(names)}) is left out, because mail of a domain for which this host is backup MX may "
            "come from any host. If no other host receives it, add --relay-domains"
        )


def _nobody_asks(site: Site, _place: Place) -> Iterator[str]:
    if not any(each.role is Role.OUTSIDE for each in site.services):
        yield "no smtpd service of master.cf has clients outside: nobody would ask the policy"
    elif site.parameters["inet_interfaces"] in ("loopback-only", "localhost", "127.0.0.1"):
        yield (
            f"inet_interfaces = {site.parameters['inet_interfaces']}: every client is on this machine, and the rule "
            "never applies to them"
        )


def _no_auth(site: Site, _place: Place) -> Iterator[str]:
    if not any(each.smtpd.values.get("smtpd_sasl_auth_enable") == "yes" for each in site.services):
        yield (
            "no service offers AUTH (smtpd_sasl_auth_enable): users outside your networks cannot send to you with a "
            "sender of your domains any more"
        )


def _wide_networks(site: Site, _place: Place) -> Iterator[str]:
    style = site.parameters["mynetworks_style"]
    if style != "host" and not site.postfix.spot(NETWORKS).line:
        yield (
            f"mynetworks_style = {style}: {_some(list(site.networks.entries))} count as inside, with every neighbour "
            "in them; set mynetworks if that is not meant"
        )


def _containers(_site: Site, place: Place) -> Iterator[str]:
    try:
        names = sorted(path.name for path in Path("/sys/class/net").iterdir() if _CONTAINERS.match(path.name))
    except OSError:
        names = []
    if names:
        yield (
            f"there are interfaces of containers or virtual machines ({_some(names)}): what they send is from outside "
            f"unless their networks are in mynetworks or in {place.directory / NETWORKS_FILE}"
        )


def _others(site: Site, _place: Place) -> Iterator[str]:
    for endpoint, who, importer in site.others:
        named = f"{endpoint}, where {who} listens by default" if who else endpoint
        hint = f"; `forkpolicy import {importer} FILE` turns its rules into ours" if importer else ""
        yield f"Postfix already asks {named}: that stays where it is{hint}"


def _filters(site: Site, place: Place) -> Iterator[str]:
    for name, when in (("content_filter", "after the queue"), ("smtpd_proxy_filter", "before the queue")):
        values = {each.smtpd.values.get(name, "") for each in site.services} - {""}
        for value in sorted(values):
            host = re.search(r"\[?([0-9a-zA-Z.:-]+?)\]?:\d+$", value.partition(":")[2] or value)
            local = host is None or re.match(r"127\.|localhost|::1", host[1])
            back = "what comes back from there is from inside, since its client is this machine"
            if not local:
                back = (
                    f"mail that it hands back is from outside unless {host[1] if host else ''} is in mynetworks or in "
                )
                back += str(place.directory / NETWORKS_FILE)
            yield f"{name} = {value} ({when}): {back}"


def _postscreen(site: Site, _place: Place) -> Iterator[str]:
    if any(service[7:8] == ("postscreen",) for service in site.master):
        yield "postscreen stands in front: clients that it refuses never reach the policy (docs/next-to-others.md)"


def _instances(site: Site, _place: Place) -> Iterator[str]:
    others = split_list(site.parameters.get("multi_instance_directories", ""))
    if others:
        yield (
            f"there are more instances of Postfix ({', '.join(others)}): for each that receives mail from outside, "
            f"forkpolicy init --postfix {shlex.quote(others[0])} -c /etc/forkpolicy-NAME/forkpolicy.toml"
        )


def _socket(site: Site, _place: Place) -> Iterator[str]:
    if site.is_taken:
        yield f"master.cf has a service with the socket that is ours by default: forkpolicy gets {site.socket}"


def _full_names(site: Site, _place: Place) -> Iterator[str]:
    lists = [each.assignment for each in site.changes if each.option == "-e"]
    if any("permit_mynetworks" not in each for each in lists):
        yield (
            f"reject_non_fqdn_sender and _recipient are not added to {LIST}: without permit_mynetworks in front they "
            "would also refuse what your own programs send as <root>"
        )


def _delay(site: Site, _place: Place) -> Iterator[str]:
    if site.parameters["smtpd_delay_reject"] != "yes":
        yield f"smtpd_delay_reject = no: the policy is asked in {LIST}, where sender and recipient are known anyway"


def _old_defaults(site: Site, _place: Place) -> Iterator[str]:
    level = site.parameters["compatibility_level"]
    if level.partition(".")[0] in ("0", "1"):
        yield (
            f"compatibility_level = {level}: Postfix uses its old defaults, and [mail] has what follows from them; run "
            "`forkpolicy check` after you raise it"
        )


_REMARKS: Final[tuple[Callable[[Site, Place], Iterator[str]], ...]] = (
    _nobody_asks,
    _copied,
    _elsewhere,
    _environment,
    _relayed,
    _no_auth,
    _wide_networks,
    _containers,
    _others,
    _filters,
    _postscreen,
    _instances,
    _socket,
    _full_names,
    _delay,
    _old_defaults,
)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
