"""forkpolicy.toml of a draft: where this Postfix finds the server, and what it makes of addresses.

Asks the system's user database for the group of a mail_owner that is not postfix.
"""

from __future__ import annotations

import grp
import json
import pwd
from typing import TYPE_CHECKING, Final

from forkpolicy.postfix.own_names import appended_domain, local_names, origin, own_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.commands.init.place import Place
    from forkpolicy.commands.init.site import Site

POLICY: Final = "policy.conf"


def settings_text(site: Site, place: Place) -> str:
    """The text of forkpolicy.toml."""
    parameters, owner = site.parameters, site.parameters["mail_owner"]
    lines = [
        f"# How forkpolicy runs. Drafted by `forkpolicy init` from the Postfix in {site.directory}.",
        "# forkpolicy.toml(5) has every setting with its default; what is not here has it.",
        f'policy = "{POLICY}"',
        f'tables = "{place.compiled}"',
        "",
        "[server]",
        f"# What Postfix calls {site.socket}, inside and outside its chroot. With systemd, the socket unit counts.",
        f"listen = {_toml([f'unix:{site.socket_path}'])}",
        *_owners(owner),
        *place.server_lines(),
        "",
        "[mail]",
        "# What Postfix makes of addresses after it has asked. `forkpolicy check` says when Postfix has changed.",
        f"recipient_delimiter = {_toml(parameters['recipient_delimiter'])}",
        f"myorigin = {_toml(origin(parameters))}",
        f"mydomain = {_toml(appended_domain(parameters))}",
        f"local_domains = {_toml(local_names(parameters))}",
        f"local_addresses = {_toml(own_addresses(parameters))}",
        *("", *place.state_lines()),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _toml(value: str | list[str]) -> str:
    # TOML allows DEL in no string, and JSON does not escape it.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _owners(owner: str) -> Iterator[str]:
    """Who runs smtpd must be able to write to the socket."""
    if owner != "postfix":
        yield f"socket_user = {_toml(owner)}"
        yield f"socket_group = {_toml(group_of(owner))}"


def group_of(user: str) -> str:
    """The name of a user's group; the user's own where the system does not know it."""
    try:
        return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    except KeyError:
        return user
