"""What the web console's user may not read, write and ask, and what the server may not read of it, for an
administrator. Changes nothing.

`check` shows these as warnings, to root alone. Nothing is said until the console has an account: before that nobody
uses it; nor without user fp-console: it may run as another user.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.rights import exists, refused_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.settings import Settings

# As contrib/systemd/forkpolicy-console.service has it.
CONSOLE: Final = "fp-console"
_ACCOUNTS: Final = "accounts.sqlite"
_MODES: Final = "systemd-tmpfiles --create makes the directory; docs/console.md has all modes"


class Remark(NamedTuple):
    """What is to be said at a setting of a section, and what to do."""

    section: str
    key: str
    message: str
    hint: str


def remarks(settings: Settings, control: str) -> Iterator[Remark]:
    """Everything. `control`: the path of the control socket."""
    path = Path(settings.console.path)
    if os.geteuid() == 0 and exists(path / _ACCOUNTS) and _groups(CONSOLE) is not None:
        yield from _of_files(settings, path)
        yield from _of_group(settings, control)


def _of_files(settings: Settings, path: Path) -> Iterator[Remark]:
    console = settings.console
    for why in refused_to(CONSOLE, [f"w {each}" for each in (path, path / _ACCOUNTS, console.rules, console.tables)]):
        yield Remark("console", "path", f"path: user {CONSOLE} may not write to {why}", f"chown -R {CONSOLE}: {path}")
    for key in ("gateway", "ldap_password_file", "oidc_secret_file", "ca_file"):
        file = getattr(console, key)
        for why in refused_to(CONSOLE, [f"r {file}"] if file else []):
            hint = f"setfacl -m u:{CONSOLE}:r {file}; or chown {CONSOLE}, where nobody else needs it"
            yield Remark("console", key, f"{key}: user {CONSOLE} may not read {why}", hint)
    for why in refused_to(settings.server.user, [f"r {console.rules}"]):
        message = f"path: user {settings.server.user} may not read {why}"
        yield Remark("console", "path", message, f"needed by the server, which includes it. {_MODES}")
    if settings.history.log:
        for why in refused_to(CONSOLE, [f"r {settings.history.path}"]):
            message, hint = f"path: user {CONSOLE} may not read {why}", f"usermod -aG fp-history {CONSOLE}"
            yield Remark("history", "path", message, f"{hint}; then restart the console")


def _of_group(settings: Settings, control: str) -> Iterator[Remark]:
    """Whether the console may ask the server."""
    name, server = settings.server.control_group, settings.server.user
    if not name:
        message = f"control_group: empty, so user {CONSOLE} may not ask the server, and the console says so"
        yield Remark("server", "control_group", message, 'control_group = "fp-control"; then restart the server')
        return
    try:
        group = grp.getgrnam(name).gr_gid
    except KeyError:
        return  # an error of its own, at the start
    if group not in (_groups(CONSOLE) or ()):
        message = f"control_group: user {CONSOLE} is not a member of {name}, and may not ask the server"
        yield Remark("server", "control_group", message, f"usermod -aG {name} {CONSOLE}; then restart the console")
    for why in refused_to(CONSOLE, [f"w {control}"]):
        message = f"control_group: user {CONSOLE} may not ask {why}"
        yield Remark("server", "control_group", message, f"restart the server, as a user who is a member: {server}")


def _groups(user: str) -> list[int] | None:
    """All groups of a user; None: there is no such user."""
    try:
        return os.getgrouplist(user, pwd.getpwnam(user).pw_gid)
    except KeyError:
        return None
