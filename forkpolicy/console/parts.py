"""What the pages ask: the settings, the running server, the history. Opened once, used by the threads of all requests.

A part that is away is no reason to end: it says so when it is asked.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from forkpolicy.console.access.audit import Audit
from forkpolicy.console.access.door import Door
from forkpolicy.console.change.changes import Changes
from forkpolicy.console.held.room import Gateway
from forkpolicy.console.lists.lists import UserLists
from forkpolicy.console.now.now import Now
from forkpolicy.console.queue.reading import QueueReading
from forkpolicy.console.rules.room import Rules
from forkpolicy.console.state.shared import SharedStore
from forkpolicy.console.tables.tables import Lookups
from forkpolicy.console.whatif.replays import Replays
from forkpolicy.control_client import ask_for, look
from forkpolicy.history.mail_log.opening import open_mail_log
from forkpolicy.history.mail_log.stage_counts import StageCounts
from forkpolicy.history.opening import open_history
from forkpolicy.preflight import control_path

if TYPE_CHECKING:
    from forkpolicy.history.place import Reader
    from forkpolicy.settings import Settings
    from forkpolicy.status import Status

Reply = TypeVar("Reply")
_STATUS_TIMEOUT_S = 2.0


class Parts:
    """`settings` are those of the start of the console; `settings.path` says where they are read again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.audit = Audit(settings.console.path, settings.history.audit_days)
        self.gateway = Gateway(settings.console.gateway)
        self.change = Changes(settings, self, self.audit)
        self.what_if = Replays(settings)
        self.remembered = SharedStore(settings)
        self.lists = UserLists(self.change.drafts.now, self, Path(settings.console.path))
        self.lookups = Lookups(self.change.drafts.now)
        self.door = Door(settings.console, self.audit, self.gateway, self.lookups)
        self.queue = QueueReading(settings.console.postfix)
        self.rules = Rules(settings, self.change.drafts.now)
        self.stages = StageCounts(lambda: open_mail_log(settings.history, time.time()))
        self.now = Now(settings.history, lambda: self.history, self.status)

    @property
    def history(self) -> Reader:
        """Past decisions. Its methods raise HistoryError."""
        return open_history(self.settings.history)

    def status(self) -> Status:
        """What the running master reports. Raises NotRunningError, ForkpolicyError."""
        return look(control_path(self.settings), _STATUS_TIMEOUT_S)

    def ask(self, kind: type[Reply], command: dict[str, object], timeout_s: float) -> Reply:
        """A command to the running master, and its reply of that kind. Raises NotRunningError, ForkpolicyError."""
        return ask_for(kind, control_path(self.settings), command, timeout_s)
