"""The mail log that the settings name: a file with its rotated ones, or the journal."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from forkpolicy.history.mail_log.files import LogFiles
from forkpolicy.history.mail_log.journal import Journal
from forkpolicy.history_settings import JOURNAL

if TYPE_CHECKING:
    from forkpolicy.history.mail_log.mails import MailLog
    from forkpolicy.history_settings import HistorySettings


def open_mail_log(settings: HistorySettings, now_s: float, path: str = "", give_up_s: float = inf) -> MailLog | None:
    """By a path, or what `mail_log` names; None where that is empty. Nothing is read yet. `give_up_s`: by the monotonic
    clock, when a search ends without having seen all.
    """
    name = path or settings.mail_log
    if name == JOURNAL:
        return Journal(give_up_s=give_up_s)
    return LogFiles(name, now_s, give_up_s) if name else None
