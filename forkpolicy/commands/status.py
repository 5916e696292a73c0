"""`forkpolicy status`: what the running master reports about itself and its workers, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from forkpolicy.commands.shared.control import look_at_master
from forkpolicy.commands.shared.parsers import add_json, add_settings
from forkpolicy.commands.shared.status_document import StatusDocument
from forkpolicy.commands.shared.status_report import as_text
from forkpolicy.documents import plain
from forkpolicy.errors import EXIT_DONE

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look and print."""
    seen = StatusDocument.of(look_at_master(arguments))
    print(json.dumps(plain(seen)) if arguments.as_json else as_text(seen))
    return EXIT_DONE
