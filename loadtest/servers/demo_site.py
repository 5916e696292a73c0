"""The server of `make demo` as somebody sees it who stays: a console, and mail that goes on coming.

Its files are a copy of conf/, since the console changes the rules.
"""

from __future__ import annotations

import shutil
from itertools import cycle
from pathlib import Path
from select import select
from typing import TYPE_CHECKING, Final

from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.console import console_settings
from loadtest.servers.server import Server
from loadtest.traffic.mail import policy_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.traffic.mail import Transaction

CONF: Final = Path("conf")
BETWEEN_MAILS_S: Final = 2.0


def demo_server(directory: Path, port: int) -> Server:
    """The server, whose console is to listen on that port of loopback. What was in the directory is gone."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(CONF / "tables", directory / "tables")
    policy = directory / "policy.conf"
    # In this directory itself, so that no path on a page goes up and down again.
    policy.write_text((CONF / "demo" / "policy.conf").read_text().replace("../", ""))
    (directory / "console" / "tables").mkdir(parents=True)
    settings = console_settings(directory, port)
    return Server(directory, policy, state_and_more=settings)


def keep_sending(server: Server, mails: Sequence[Transaction]) -> None:
    """One mail after the other, until the interrupt."""
    for number, mail in enumerate(cycle(mails)):
        with PolicyClient(server.socket_path) as client:
            client.ask(policy_request(mail, mail.recipients[0], number))
        # A pause that an interrupt ends.
        select([], [], [], BETWEEN_MAILS_S)
