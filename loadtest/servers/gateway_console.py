"""The console of a whole gateway on loopback: what its settings need, and an account for each of its people.

Raises SetupError.
"""

from __future__ import annotations

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
    """Have its policy server write what a console on that port shows; before it starts."""
    directory = site.policy.directory
    with site.policy.settings.open("a") as settings:
        settings.write(
            f'[history]\nlog = "{directory}/decisions.json"\npath = "{directory}/history"\n'
            f'mail_log = "{site.place.mail_log}"\n'
            f'[console]\nlisten = "127.0.0.1:{port}"\npath = "{site.lists.parent}"\n'
            f'postfix = "{site.place.postfix}"\ngateway = "{site.store.settings}"\n'
        )


def links(console: Console) -> dict[str, str]:
    """A one-time link for each account, which is added."""
    return {name: console.add_account(name, *options) for name, options in ACCOUNTS.items()}
