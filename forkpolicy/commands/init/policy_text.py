"""policy.conf of a draft: the founding rule with this Postfix's lists, comments that say why, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.commands.init.lists import RELAYED, queries_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.commands.init.lists import Listed
    from forkpolicy.commands.init.site import Site

DOMAINS_FILE: Final = "tables/local-domains"
NETWORKS_FILE: Final = "tables/local-networks.cidr"
# What the policy declares at most.
TABLES: Final = ("local_domains", "local_networks")

_POLICY: Final = """\
# What forkpolicy decides: mail from one of our domains to one of our domains, from outside, without AUTH, is forged.
# Drafted by `forkpolicy init` from the Postfix in {directory}; now it is yours.
#
# An `access` statement is a rule. The first rule in which everything holds decides; when none does, Postfix goes on
# (DUNNO). After a change here: forkpolicy check, forkpolicy reload. After a change of a source: forkpolicy-compile.

{networks}

{domains}

# This machine itself: programs here, and a content filter that hands mail back to Postfix.
acl    from_inside     client_address  127.0.0.0/8 ::1
{inside}acl    from_us         sender          table:local_domains
acl    to_us           recipient       table:local_domains
acl    signed_in       authenticated
action prove_it        REJECT 5.7.1 Authentication required to send as {{sender_domain}}

# Not from inside, from us, to us, and not signed in. A bounce has no sender, so it is never "from us". Mail of our
# users to the outside is not "to us"; whether it is relayed is left to Postfix.
access !from_inside from_us to_us !signed_in prove_it
"""
_INSIDE: Final = "acl    from_inside     client_address  table:local_networks\n"


def policy_text(site: Site, files: set[str]) -> str:
    """The text of policy.conf. `files`: the tables' files that there are."""
    return _POLICY.format(
        directory=site.directory,
        networks="\n".join(_networks(site, files)),
        domains="\n".join(_domains(site, files)),
        inside=_INSIDE if _has_networks(site, files) else "",
    )


def _has_networks(site: Site, files: set[str]) -> bool:
    return site.networks.followed or NETWORKS_FILE in files


def _networks(site: Site, files: set[str]) -> Iterator[str]:
    yield "# The networks that may send without AUTH: those that Postfix trusts (mynetworks). More, such as networks of"
    yield f"# containers or a mail filter on another host, go into a file that is a further source: {NETWORKS_FILE}."
    yield from _left_out([site.networks])
    if _has_networks(site, files):
        sources = [*(["postconf:mynetworks"] if site.networks.followed else []), *sorted({NETWORKS_FILE} & files)]
        yield f"table  local_networks  cidr    {' '.join(sources)}"


def _domains(site: Site, files: set[str]) -> Iterator[str]:
    yield "# The domains whose mailboxes live here."
    relayed = [] if site.relay_domains in site.domains else site.relay_domains.names[:1]
    if relayed:
        yield f"# Not those that are only relayed ({RELAYED} has {relayed[0]}): their mail may arrive from any host."
        yield f"# If this host is the only one that receives it, add the source postconf:{RELAYED}."
    yield from _left_out(site.domains)
    sources = [f"postconf:{each.parameter}" for each in site.domains if each.followed]
    yield f"table  local_domains   domain  {' '.join([*sources, *sorted({DOMAINS_FILE} & files)])}"


def _left_out(lists: Iterable[Listed]) -> Iterator[str]:
    """Comments that say what is missing, and why."""
    for listed in lists:
        for problem in listed.problems:
            yield f"# Missing, of {listed.parameter}: {' '.join(problem.split())}"
        for name, query in queries_of(listed):
            yield f"#   {name} has {query}"
