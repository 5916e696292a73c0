"""The console of a whole gateway on loopback: what its settings need, and an account for each of its people.

Raises SetupError.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from loadtest.servers.console import Console
    from loadtest.servers.gateway_site import GatewaySite

ACCOUNTS: Final = {
    "alice": ("--role", "user", "--address", "alice@example.com"),
    "bob": ("--role", "user", "--address", "bob@example.com"),
    "admin": ("--role", "admin"),
}


def add_console(site: GatewaySite, port: int) -> None:
    """Have its policy server write what a console on that port shows, and digests lead there; before it starts."""
    _add_digests(site, port)
    directory = site.policy.directory
    with site.policy.settings.open("a") as settings:
        settings.write(
            f'[history]\nlog = "{directory}/decisions.json"\npath = "{directory}/history"\n'
            f'mail_log = "{site.place.mail_log}"\n'
            f'[console]\nlisten = "127.0.0.1:{port}"\npath = "{site.lists.parent}"\n'
            f'postfix = "{site.place.postfix}"\ngateway = "{site.store.settings}"\n'
        )


def _add_digests(site: GatewaySite, port: int) -> None:
    """On for everybody."""
    domains, settings = Path(site.place.domains), site.store.settings
    domains.write_text("".join(f"{each.name} {each.relay} digest=daily\n" for each in site.domains))
    lines = settings.read_text().splitlines()
    lines = [f'url = "http://127.0.0.1:{port}"' if each.startswith("url = ") else each for each in lines]
    settings.write_text("".join(f"{each}\n" for each in lines))


def links(console: Console) -> dict[str, str]:
    """A one-time link for each account, which is added."""
    return {name: console.add_account(name, *options) for name, options in ACCOUNTS.items()}
