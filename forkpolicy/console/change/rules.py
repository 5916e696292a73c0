"""The console's rule file as a target of the engine: checked with the whole policy, taken by a reload of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from forkpolicy.console.change.engine import Force
from forkpolicy.control_messages import ReloadReply
from forkpolicy.errors import ForkpolicyError

if TYPE_CHECKING:
    from pathlib import Path

    from forkpolicy.console.change.drafts import Checked, Drafts
    from forkpolicy.status import Status

Reply = TypeVar("Reply")
# Its three phases with their own limits, and some.
_RELOAD_TIMEOUT_S: Final = 210.0
_LATER: Final = "it is in the file, and in force once the server has loaded it"


class Server(Protocol):
    """The running server (console/parts.py)."""

    def status(self) -> Status:
        """What it reports. Raises ForkpolicyError."""
        ...

    def ask(self, kind: type[Reply], command: dict[str, object], timeout_s: float) -> Reply:
        """A command and its reply. Raises ForkpolicyError."""
        ...


@dataclass(frozen=True, slots=True)
class RuleFile:
    """The file that the policy includes with `restricted`."""

    path: Path
    drafts: Drafts
    server: Server

    def check(self, text: str) -> Checked:
        """The whole policy with that text."""
        return self.drafts.check(self.path, text)

    def offer(self) -> Force:
        """Reload the server."""
        try:
            reply = self.server.ask(ReloadReply, {"command": "reload"}, _RELOAD_TIMEOUT_S)
        except ForkpolicyError as error:
            return Force("unknown", (f"{error}: {_LATER}",))
        if not reply.ok:
            return Force("refused", reply.diagnostics or ("the server's log has the reason",))
        return Force("in force", (*reply.warnings, *(f"note: {note}" for note in reply.notes)))


def not_loaded_yet(server: Server, drafts: Drafts) -> str:
    """Why what is in the files is not what the server decides by; empty where it is. Whoever applies a change has the
    server load that, too.
    """
    try:
        serving = server.status().policy.version
        if serving in (None, drafts.now().policy_version()):
            return ""
    except ForkpolicyError as error:
        return str(error)
    return "the policy's files were changed since the server has loaded them: the next change that is applied loads all"
