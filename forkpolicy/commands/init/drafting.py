"""The files of a first configuration: forkpolicy.toml, policy.conf and what no `postconf:` source gives in tables/.

Texts only. Entries that people added to a file of an earlier draft stay in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.commands.init.policy_text import DOMAINS_FILE, NETWORKS_FILE, policy_text
from forkpolicy.commands.init.sealing import sealed
from forkpolicy.commands.init.settings_text import POLICY, settings_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forkpolicy.commands.init.place import Place
    from forkpolicy.commands.init.site import Site

# A line of a table's file by which the next draft knows that it may add to it.
MARK: Final = "# Drafted by `forkpolicy init`."
_ABOUT_DOMAINS: Final = (
    "Domains whose mailboxes live here, beyond the lists that policy.conf takes from Postfix: one a line.",
    "After a change: forkpolicy-compile local_domains",
)
_ABOUT_NETWORKS: Final = (
    "Networks that may send mail from our domains without AUTH: one a line, IPv4 and IPv6.",
    "After a change: forkpolicy-compile local_networks",
)


def names_of(place: Place) -> tuple[str, ...]:
    """The files that a draft may have, below the settings' directory."""
    return DOMAINS_FILE, NETWORKS_FILE, POLICY, place.settings.name


def entries_of(text: str) -> list[str]:
    """The entries of a table's file of an earlier draft; none where it is another file."""
    if MARK not in text.splitlines():
        return []
    words = [line.split()[0] for line in text.splitlines() if line.strip()]
    return [word for word in words if word[0] not in "#;"]


def draft(site: Site, place: Place, there: Mapping[str, str]) -> dict[str, str]:
    """Every file by its path below the settings' directory. `there`: the texts of those that exist."""
    domains = [*site.named, *(name for each in site.in_files for name in each.names)]
    networks = () if site.networks.followed else site.networks.entries
    tables = {
        DOMAINS_FILE: _table(there.get(DOMAINS_FILE, ""), _ABOUT_DOMAINS, domains),
        NETWORKS_FILE: _table(there.get(NETWORKS_FILE, ""), _ABOUT_NETWORKS, networks),
    }
    tables = {name: text for name, text in tables.items() if text}
    policy = policy_text(site, set(tables))
    return {**tables, POLICY: sealed(policy), place.settings.name: sealed(settings_text(site, place))}


def _table(there: str, about: tuple[str, str], entries: Iterable[str]) -> str:
    """The text of a table's file; empty where it has no entries."""
    known = entries_of(there)
    added = [each for each in dict.fromkeys(entries) if each not in known]
    if not (known or added):
        return ""
    begin = there if known else f"# {about[0]}\n{MARK}\n# {about[1]}\n\n"
    return begin.rstrip("\n") + "\n" * (1 if known else 2) + "".join(f"{each}\n" for each in added)
