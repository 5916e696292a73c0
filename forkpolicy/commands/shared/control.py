"""The running master of the settings that a command was given: its control socket, and what it replies there.

Raises ConfigError for settings that cannot be used, NotRunningError where no master replies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from forkpolicy.control_client import ask_for, look
from forkpolicy.preflight import control_path
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    import argparse

    from forkpolicy.status import Status

Reply = TypeVar("Reply")

REPLY_TIMEOUT_S = 10.0


def control_socket(arguments: argparse.Namespace) -> str:
    """The path of the control socket."""
    return control_path(load_settings(arguments.settings))


def ask_master(
    kind: type[Reply], arguments: argparse.Namespace, command: dict[str, object], timeout_s: float = REPLY_TIMEOUT_S
) -> Reply:
    """Give the master a command; its reply, which is of that kind."""
    return ask_for(kind, control_socket(arguments), command, timeout_s)


def look_at_master(arguments: argparse.Namespace) -> Status:
    """What the master reports about itself and its workers."""
    return look(control_socket(arguments), REPLY_TIMEOUT_S)
