"""What commands about past decisions share: the arguments that name and bound them, and who sent what to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import UsageError
from forkpolicy.history.query import ids_in

if TYPE_CHECKING:
    import argparse


def add_most(parser: argparse.ArgumentParser, default: int, what: str) -> None:
    """`--most N`, as `arguments.most`. `what`: what it bounds."""
    parser.add_argument("--most", type=int, default=default, metavar="N", help=f"{what} (default: %(default)s)")


def check_most(most: int) -> None:
    """Raises UsageError where it is not a number of decisions."""
    if most < 1:
        raise UsageError(f"--most {most}: expected a number from 1")


def id_in(text: str) -> str:
    """The id of a decision, given as `find` takes it: in any case, as `id:ID`, or in a pasted sentence. Raises
    UsageError where the text has none, or several.
    """
    ids = list(dict.fromkeys(ids_in(text)))
    if not ids:
        raise UsageError(
            f'"{text}" is not the id of a decision: expected 12 letters and digits without vowels, as history find '
            "prints them"
        )
    if len(ids) > 1:
        raise UsageError(f"the text has the ids of several decisions: expected one of {', '.join(ids)}")
    return ids[0]


def parties(client: str | None, sender: str | None, recipient: str | None, login: str | None) -> str:
    """Client, sender, recipient and login in one line; `-` for what is not known, `<>` for the null sender. Strangers
    chose them: the caller cleans the line.
    """
    signed_in = f"  login {login}" if login else ""
    return f"{client or '-'}  {_address(sender)} -> {_address(recipient)}{signed_in}"


def _address(text: str | None) -> str:
    return "-" if text is None else text or "<>"
