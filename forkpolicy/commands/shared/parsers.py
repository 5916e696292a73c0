"""Arguments that several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.settings import DEFAULT_PATH

if TYPE_CHECKING:
    import argparse


def add_settings(parser: argparse.ArgumentParser) -> None:
    """`-c FILE`, as `arguments.settings`."""
    parser.add_argument(
        "-c", dest="settings", metavar="FILE", default=DEFAULT_PATH, help="settings (default: %(default)s)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`, as `arguments.as_json`, for commands whose results tools read."""
    parser.add_argument("--json", action="store_true", dest="as_json", help="print the result as JSON")
