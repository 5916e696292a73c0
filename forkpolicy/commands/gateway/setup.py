"""`forkpolicy gateway setup`: Postfix, rspamd and forkpolicy as the domains file says; written with `--write`.

Exit status 0: done, or nothing to do; 1: there are differences, and nothing was written; 73 and 78 as everywhere.
Raises ConfigError, CannotWriteError, UsageError.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.errors import EXIT_DONE, EXIT_NO, UsageError
from forkpolicy.gateway.lists import FILES
from forkpolicy.gateway.setup.draft import Draft, draft
from forkpolicy.gateway.setup.place import GatewayPlace
from forkpolicy.gateway.setup.policy_text import POLICY_FILE
from forkpolicy.postfix.postconf import PostconfError
from forkpolicy.replaced_files import difference, write_files

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

_DEFAULT = GatewayPlace()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add = parser.add_argument
    add("--domains", metavar="FILE", help=f"the domains file (default: {_DEFAULT.domains})")
    add("--postfix", metavar="DIR", default=_DEFAULT.postfix, help="Postfix's configuration (default: %(default)s)")
    add("--rspamd", metavar="DIR", default=_DEFAULT.rspamd, help="rspamd's configuration (default: %(default)s)")
    add("--forkpolicy", metavar="DIR", default=_DEFAULT.forkpolicy, help="forkpolicy's (default: %(default)s)")
    add("--write", action="store_true", help="write the files; those that they replace are kept as NAME.before-gateway")


def run(arguments: argparse.Namespace) -> int:
    """Draft, show, and write if asked."""
    place = GatewayPlace(postfix=arguments.postfix, rspamd=arguments.rspamd, forkpolicy=arguments.forkpolicy)
    if arguments.domains is not None:
        place = _with_domains(place, arguments.domains)
    try:
        made = draft(place)
    except PostconfError as error:
        raise UsageError(f"{error}; --postfix DIR names the directory of Postfix's main.cf") from error
    for warning in made.warnings:
        print(warning)
    if not any(made.changed(directory) for directory in made.files):
        print(f"nothing to do: everything is as {len(made.domains)} domains need it")
        return EXIT_DONE
    if not arguments.write:
        _show(made)
        print("nothing is written; the same command with --write writes it")
        return EXIT_NO
    steps = list(_steps(made, place))
    for directory, files in made.files.items():
        for done in write_files(Path(directory), files, made.there[directory], "gateway"):
            print(done)
    print("next:")
    for step in steps:
        print(f"    {step}")
    return EXIT_DONE


def _with_domains(place: GatewayPlace, path: str) -> GatewayPlace:
    return place.with_domains(str(Path(path).absolute()))


def _show(made: Draft) -> None:
    for directory, files in made.files.items():
        for name, text in files.items():
            shown = difference(Path(directory) / name, made.there[directory].get(name), text)
            if shown:
                print(shown)


def _steps(made: Draft, place: GatewayPlace) -> Iterator[str]:
    """The commands that make what was written count."""
    if made.changed(place.forkpolicy):
        for name in FILES.values():
            path = Path(place.console_tables) / name
            if not path.exists():
                yield f"install -D -m 644 -o fp-console -g fp-console /dev/null {path}"
        yield from _server_steps(made.changed(place.forkpolicy), place)
    if made.changed(place.rspamd):
        yield "rspamadm configtest && systemctl restart rspamd"
    if made.changed(place.postfix):
        yield "postfix check && postfix reload"
    yield f"{_again(place)}    # says that there is nothing to do"


def _again(place: GatewayPlace) -> str:
    """The command that has drafted this, with the places that it was given."""
    given = {
        "--domains": (place.named_domains, ""),
        "--postfix": (place.postfix, _DEFAULT.postfix),
        "--rspamd": (place.rspamd, _DEFAULT.rspamd),
        "--forkpolicy": (place.forkpolicy, _DEFAULT.forkpolicy),
    }
    words = [word for name, (value, usual) in given.items() if value != usual for word in (name, value)]
    return shlex.join(["forkpolicy", "gateway", "setup", *words])


def _server_steps(changed: Sequence[str], place: GatewayPlace) -> Iterator[str]:
    """Those for the policy server; the first time, for its policy, its second socket and the store, too."""
    if POLICY_FILE in changed:
        yield f"sed -i 's,^policy = .*,policy = \"{POLICY_FILE}\",' {place.forkpolicy}/forkpolicy.toml"
    if Path(place.settings).name not in changed:
        yield "forkpolicy-compile"
        yield "forkpolicy check && forkpolicy reload"
        return
    yield "forkpolicy-compile --allow-shrink && forkpolicy check"
    # systemd gives a socket to a service that starts, and starts none for one that runs.
    yield "systemctl stop forkpolicy.service"
    yield "systemctl enable --now forkpolicy-store-policy.socket forkpolicy-store.socket"
    yield "systemctl start forkpolicy.service && systemctl enable --now forkpolicy-store.service"
