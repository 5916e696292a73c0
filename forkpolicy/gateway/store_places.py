"""`gateway check`: the sockets between Postfix, store, policy server and console, and what the user of
forkpolicy-store.service may not read, write or ask. Changes nothing.

Says nothing to others than root, who alone can look as another user. Of the store's user only while the store is that
user's, or does not run: one that somebody has started by hand has the rights of its own user.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import Diagnostic
from forkpolicy.gateway.settings import SOCKETS
from forkpolicy.rights import exists, refused_to
from forkpolicy.systemd_unit import read_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.gateway.settings import GatewaySettings

SERVICE: Final = "forkpolicy-store.service"
# As contrib/systemd has them: the unit's user and the groups that it gives it, and the console's user.
STORE: Final = "fp-store"
GROUPS: Final = ("adm",)
CONSOLE: Final = "fp-console"


def place_findings(settings: GatewaySettings, path: str, postfix_user: str) -> Iterator[Diagnostic]:
    """Everything. `path`: gateway.toml; `postfix_user`: mail_owner of main.cf, as which lmtp(8) runs."""
    if os.geteuid() == 0:
        yield from _of_postfix(settings, postfix_user)
        yield from _of_the_policy(settings)
        user, groups = _store_user()
        if _is_user_of(settings.store.api, user):
            yield from _of_the_store(settings, path, user, groups)
        yield from _of_the_console(settings)


def _store_user() -> tuple[str, Sequence[str]]:
    """The user of the unit, and the groups that the unit gives it: as systemd has it loaded, or as it is shipped."""
    unit = read_unit(SERVICE)
    return (unit.user, unit.groups) if unit else (STORE, GROUPS)


def _is_user_of(api: str, user: str) -> bool:
    """Whether the store that made this socket is the user's; also where there is no socket."""
    try:
        uid = pwd.getpwnam(user).pw_uid
        return Path(api).stat().st_uid == uid
    except KeyError:
        return False
    except OSError:
        return True


def _of_postfix(settings: GatewaySettings, user: str) -> Iterator[Diagnostic]:
    for name in SOCKETS.values():
        path = f"{settings.store.sockets}/{name}"
        if not Path(path).is_socket():
            hint = "systemctl enable --now forkpolicy-store.socket"
            yield _error(path, "there is no such socket: mail for it waits in Postfix's queue", hint)
        for why in refused_to(user, [f"w {path}"]):
            hint = "forkpolicy-store.socket makes them for user postfix: SocketUser="
            yield _error(path, f"user {user}, which delivers there, may not write to {why}", hint)


def _of_the_policy(settings: GatewaySettings) -> Iterator[Diagnostic]:
    path = settings.store.policy
    if not Path(path).is_socket():
        message = "there is no such socket: the store cannot ask the policy server, and all held mail stays held"
        yield _error(path, message, _POLICY_HINT)


_POLICY_HINT: Final = (
    "systemctl stop forkpolicy && systemctl enable --now forkpolicy-store-policy.socket && systemctl start forkpolicy;"
    ' in gateway.toml, [store] policy = "/run/forkpolicy/policy"'
)


def _of_the_store(settings: GatewaySettings, path: str, user: str, groups: Sequence[str]) -> Iterator[Diagnostic]:
    store = settings.store
    for why in refused_to(user, [f"r {path}"], groups):
        yield _error(path, f"user {user} may not read {why}: the store cannot start", f"chmod 644 {path}")
    for why in refused_to(user, [f"w {store.path}"], groups):
        hint = f"chown -R {user}: {store.path}"
        yield _error(store.path, f"user {user} may not write to {why}: the store cannot start", hint)
    for why in refused_to(user, [f"w {store.policy}"], groups):
        message = f"user {user} may not ask the policy server at {why}: all held mail stays held"
        yield _error(store.policy, message, _POLICY_HINT)
    if store.mail_log:
        for why in refused_to(user, [f"r {store.mail_log}"], groups):
            message = f"user {user} may not read {why}: what became of released mail is not known"
            hint = "install rsyslog, whose log group adm may read: postlogd(8) writes maillog_file for root alone"
            yield _warning(store.mail_log, message, hint)
    if secret := settings.scanner.password_file:
        for why in refused_to(user, [f"r {secret}"], groups):
            message = f"user {user} may not read {why}: nothing is learned"
            yield _warning(secret, message, f"chgrp {user} {secret} && chmod 640 {secret}")


def _of_the_console(settings: GatewaySettings) -> Iterator[Diagnostic]:
    api = Path(settings.store.api)
    if exists(api):
        for why in refused_to(CONSOLE, [f"w {api}"]):
            message = f"user {CONSOLE} may not ask the store at {why}: the console shows no held mail"
            hint = f'in gateway.toml, [store] api_group = "{STORE}"; usermod -aG {STORE} {CONSOLE}; restart both'
            yield _warning(str(api), message, hint)


def _error(path: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic(path, 0, 0, message, hint=hint)


def _warning(path: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic(path, 0, 0, message, hint=hint, severity="warning")
