"""`forkpolicy reload`: have the running master read settings and policy again, and report the result."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from forkpolicy.commands.shared.control import ask_master
from forkpolicy.commands.shared.parsers import add_settings
from forkpolicy.control_messages import ReloadReply
from forkpolicy.errors import EXIT_DONE, EXIT_NO

if TYPE_CHECKING:
    import argparse

# The three phases of a reload with their own time limits, and some.
RELOAD_TIMEOUT_S = 210.0
# A master of an earlier release names its reasons otherwise.
UNKNOWN_REASON = "the running master is of another release, and why it refused is unknown here: see its log"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    """Reload. Exit status 1: refused, and the previous policy stays in use."""
    reply = ask_master(ReloadReply, arguments, {"command": "reload"}, RELOAD_TIMEOUT_S)
    for diagnostic in reply.diagnostics or (() if reply.ok else (UNKNOWN_REASON,)):
        print(diagnostic, file=sys.stderr)
    # What the start prints, too; a shadow policy that is left out is among them.
    for warning in reply.warnings:
        print(warning, file=sys.stderr)
    for note in reply.notes:
        print(f"note: {note}", file=sys.stderr)
    if not reply.ok:
        print(f"reload refused: generation {reply.generation} stays in use", file=sys.stderr)
        return EXIT_NO
    print(f"every worker uses generation {reply.generation}")
    return EXIT_DONE
