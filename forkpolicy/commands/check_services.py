"""What `forkpolicy check` finds about the sockets of other policy servers, without connecting to them.

A path that is written wrongly looks like a server that is away: its ACL cannot be known, and mail passes unasked.
"""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.asked_servers import asked_services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.model import Model


def missing_sockets(model: Model) -> Iterator[Diagnostic]:
    """A warning for each `unix:` service where there is no socket. What we may not see is reported with the rights."""
    for service in asked_services(model):
        for endpoint in service.endpoints:
            if endpoint.startswith("unix:") and (wrong := _what_is_wrong(Path(endpoint.removeprefix("unix:")))):
                hint = "start that server, or correct the path: until then the ACL cannot be known, or fails"
                yield replace(service.at(f"{service.name}: {wrong}", hint), severity="warning")


def _what_is_wrong(path: Path) -> str:
    try:
        return "" if stat.S_ISSOCK(path.stat().st_mode) else "expected a socket, and it is another kind of file"
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such socket"
    except OSError:
        return ""
