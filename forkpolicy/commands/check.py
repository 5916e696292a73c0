"""`forkpolicy check`: every error in settings, policy and tables in one run, and warnings of what may surprise.

Returns the exit status: 0 no error (warnings or not), 1 an error was found. Results go to standard output.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from forkpolicy import engine_checks
from forkpolicy.addresses import unix_path
from forkpolicy.asked_servers import asked_servers
from forkpolicy.commands.check_dns import public_resolvers, tested_lists
from forkpolicy.commands.check_postfix.call_sites import describe, find_findings
from forkpolicy.commands.check_postfix.setup import look_at
from forkpolicy.commands.check_postfix.socketfile import unlike_settings
from forkpolicy.commands.check_services import missing_sockets
from forkpolicy.commands.shared.parsers import add_json, add_settings
from forkpolicy.console_places import remarks as console_remarks
from forkpolicy.errors import EXIT_DONE, EXIT_NO, ConfigError, Diagnostic
from forkpolicy.explaining.checking import policy_warnings, table_diagnostics
from forkpolicy.files import GLOB_PREFIX, Files
from forkpolicy.gateway.domains import parse_domains
from forkpolicy.gateway.settings import load_gateway_settings
from forkpolicy.history.url_checks import find_history_findings
from forkpolicy.history_places import remarks as history_remarks
from forkpolicy.loading import load_with
from forkpolicy.postfix.parameters import BrokenPostfixError, PostfixError, read_postfix
from forkpolicy.preflight import Start, control_path, find_obstacles, find_remarks, unreadable, worker_identity
from forkpolicy.settings import diagnostic_at_setting, read_settings
from forkpolicy.sign_in_checks import find_sign_in_findings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from forkpolicy.commands.check_postfix.setup import Setup
    from forkpolicy.loading import Loaded
    from forkpolicy.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    parser.add_argument(
        "--postfix",
        metavar="DIR",
        help="check the Postfix configured in DIR, too (default: the system's if there is one; none: leave out)",
    )
    parser.add_argument("--dns", action="store_true", help="test the policy's DNS lists, too, which asks name servers")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check everything that the settings name and print what was found."""
    return check(arguments.settings, as_json=arguments.as_json, postfix=arguments.postfix, dns=arguments.dns)


def check(settings_path: str, *, as_json: bool, postfix: str | None, dns: bool = False) -> int:
    """`postfix`: the configuration directory of a Postfix to check too; None: the system's if there is one; "none":
    none. `dns`: test DNS lists.
    """
    diagnostics, settings, loaded = find_diagnostics(settings_path)
    if settings and loaded and dns:
        diagnostics += tested_lists(settings, loaded.policy.model)
    try:
        setup = _set_up(postfix, settings, loaded)
    except BrokenPostfixError as error:
        setup = None
        # This Postfix was not named: it need not be the one that asks us.
        severity: Literal["error", "warning"] = "error" if postfix else "warning"
        diagnostics.append(Diagnostic(error.path, 0, 0, str(error), severity=severity))
    call_sites = describe(setup) if setup else []
    diagnostics += find_findings(setup) if setup else []
    errors = sum(diagnostic.severity == "error" for diagnostic in diagnostics)
    if as_json:
        found = [each.as_json() for each in diagnostics]
        json.dump({"ok": not errors, "diagnostics": found, "postfix": call_sites}, sys.stdout)
        sys.stdout.write("\n")
    else:
        for text in (*diagnostics, *(site["text"] for site in call_sites)):
            print(text)
        print(_summary(errors, len(diagnostics) - errors, loaded))
    return EXIT_NO if errors else EXIT_DONE


def _set_up(postfix: str | None, settings: Settings | None, loaded: Loaded | None) -> Setup | None:
    if settings is None or postfix == "none":
        return None
    try:
        return look_at(read_postfix(postfix), settings, loaded.policy.model if loaded else None)
    except BrokenPostfixError:
        raise
    except PostfixError as error:
        # It was not named, and a machine may be without a configured Postfix.
        if postfix is None:
            return None
        raise PostfixError(f"{error} (--postfix none leaves Postfix out)") from error


def find_diagnostics(settings_path: str) -> tuple[list[Diagnostic], Settings | None, Loaded | None]:
    """All diagnostics, the settings when they could be read, and what was loaded when nothing kept it from being."""
    files = Files()
    try:
        settings, diagnostics = read_settings(settings_path, files)
    except ConfigError as error:
        return list(error.diagnostics), None, None
    try:
        loaded = load_with(settings, files, {})
    except ConfigError as error:
        return [*diagnostics, *_obstacles(settings, (), diagnostics), *error.diagnostics], settings, None
    diagnostics += _obstacles(settings, loaded.table_paths, diagnostics, remembers=loaded.remembers)
    servers = asked_servers(settings, loaded.policy.model)
    diagnostics += find_remarks(Start(settings, remembers=loaded.remembers, servers=servers))
    diagnostics += _engine(settings) if loaded.remembers else ()
    diagnostics += [*_rights(settings, files), *_places(settings), *find_history_findings(settings)]
    diagnostics += [*find_sign_in_findings(settings), *_gateway(settings)]
    warnings = [
        *public_resolvers(settings, loaded.policy.model),
        *missing_sockets(loaded.policy.model),
    ]
    return [*diagnostics, *policy_warnings(loaded), *warnings, *table_diagnostics(loaded)], settings, loaded


def _engine(settings: Settings) -> list[Diagnostic]:
    """What a start would refuse or warn of, and what the engine says of itself, if the store is one."""
    obstacles = engine_checks.find_obstacles(settings)
    return [*obstacles, *engine_checks.find_remarks(settings), *(() if obstacles else engine_checks.look(settings))]


def _obstacles(
    settings: Settings, tables: tuple[str, ...], diagnostics: list[Diagnostic], *, remembers: bool = False
) -> list[Diagnostic]:
    """What `serve` would refuse, but for settings that are wrong already and have their default here."""
    wrong_lines = {each.line for each in diagnostics}
    start = Start(settings, tables, remembers=remembers)
    return [each for each in find_obstacles(start) if each.line not in wrong_lines]


def _rights(settings: Settings, files: Files) -> Iterator[Diagnostic]:
    """As root: files that the server's own user may not read, and sockets that are not as the settings have them."""
    if os.geteuid() != 0:
        return
    try:
        identity = worker_identity(settings)
        paths = [path for path in files.snapshot if not path.startswith(GLOB_PREFIX)]
        closed = unreadable(identity, paths) if identity else []
    except (KeyError, OSError):
        # Reported as what keeps the server from starting.
        return
    for path, why in closed:
        hint = f"needed where the server starts as user {settings.server.user}, as the shipped unit does, not as root"
        message = f"user {settings.server.user} may not read it: {why}"
        yield Diagnostic(path, 0, 0, message, hint=hint, severity="warning")
    for endpoint in settings.server.listen:
        if endpoint.startswith("unix:"):
            yield from unlike_settings(Path(unix_path(endpoint, Path(settings.path).parent)), settings)


def _gateway(settings: Settings) -> list[Diagnostic]:
    """Mistakes in the files of the gateway that the console shows."""
    path = settings.console.gateway
    if not path:
        return []
    if not Path(path).exists():
        hint = "`forkpolicy gateway setup --write` makes it; empty: the console has no held mail"
        message = f"gateway: {path}: there is no such file"
        return [diagnostic_at_setting(settings.path, "console", "gateway", message, hint)]
    try:
        domains = load_gateway_settings(path).domains
        parse_domains(domains, Path(domains).read_text("utf-8", "replace"))
    except ConfigError as error:
        return list(error.diagnostics)
    except OSError as error:
        return [Diagnostic(domains, 0, 0, f"cannot be read: {(error.strerror or '').lower()}")]
    return []


def _places(settings: Settings) -> Iterator[Diagnostic]:
    """What an administrator should know of the places of `[history]` and `[console]`."""
    history = history_remarks(settings.history, settings.server.user)
    console = console_remarks(settings, control_path(settings))
    for section, key, message, hint in [*(("history", *each) for each in history), *console]:
        yield replace(diagnostic_at_setting(settings.path, section, key, message, hint), severity="warning")


def _summary(errors: int, warnings: int, loaded: Loaded | None) -> str:
    counted = f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}"
    if loaded is None or errors:
        return counted
    model = loaded.policy.model
    sizes = (_counted(len(model.rules), "rule"), _counted(len(model.acls), "ACL"), _counted(len(model.tables), "table"))
    return f"{counted}: {loaded.settings.policy} has {', '.join(sizes)}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
