"""`forkpolicy gateway check`: what is wrong with a gateway. Exit status 0: nothing, or warnings alone; 1: errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.errors import EXIT_DONE, EXIT_NO, UsageError
from forkpolicy.gateway.checking import findings
from forkpolicy.gateway.settings import DEFAULT_PATH, load_gateway_settings
from forkpolicy.postfix.postconf import PostconfError

if TYPE_CHECKING:
    import argparse

_POSTFIX: Final = "/etc/postfix"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument(
        "--postfix", metavar="DIR", default=_POSTFIX, help="Postfix's configuration (default: %(default)s)"
    )
    parser.set_defaults(settings=DEFAULT_PATH)


def run(arguments: argparse.Namespace) -> int:
    """Print what is found."""
    try:
        found = findings(load_gateway_settings(arguments.settings), arguments.settings, arguments.postfix)
    except PostconfError as error:
        raise UsageError(f"{error}; --postfix DIR names the directory of Postfix's main.cf") from error
    for each in found:
        print(each)
    errors = sum(each.severity == "error" for each in found)
    print(f"{_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}")
    return EXIT_NO if errors else EXIT_DONE


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
