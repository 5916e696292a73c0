"""What the scanner was to learn, what became of it, and what it says of its Bayes statistics. Raises sqlite3.Error."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.store_messages import Lesson

if TYPE_CHECKING:
    import sqlite3

    from forkpolicy.gateway.store.controller import Controller

_TIMEOUT_S: Final = 5.0
_MOST: Final = 100
_LESSONS: Final = """SELECT at_s, class, learning.state, words, message.sender, message.subject,
  (SELECT coalesce(min(held.id), 0) FROM held WHERE held.message = message.id)
  FROM learning JOIN message ON message.id = learning.message ORDER BY learning.id DESC LIMIT ?"""
_REFUSED: Final = frozenset({401, 403})


def lessons(connection: sqlite3.Connection) -> tuple[tuple[tuple[str, str, int], ...], tuple[Lesson, ...]]:
    """Counts by class and state, and the newest lessons."""
    counts = connection.execute("SELECT class, state, count(*) FROM learning GROUP BY class, state")
    newest = connection.execute(_LESSONS, (_MOST,))
    return (
        tuple((str(kind), str(state), int(count)) for kind, state, count in counts),
        tuple(
            Lesson(float(at_s), str(kind), str(state), str(words), str(sender), str(subject), int(held))
            for at_s, kind, state, words, sender, subject, held in newest
        ),
    )


def bayes(controller: Controller) -> tuple[dict[str, int], str]:
    """How many mails each class of its statistics has, by symbol; and why that is not known, with what to do."""
    url = controller.settings.controller
    if not url:
        return {}, "[scanner] controller is empty in gateway.toml, so nothing is learned: give rspamd's, port 11334"
    try:
        answer = controller.get("/stat", _TIMEOUT_S)
        if answer.status in _REFUSED:
            return {}, f"{url} refuses the password: [scanner] password_file has that of worker-controller.inc"
        found = _statistics(answer.body)
    except (OSError, http.client.HTTPException) as error:
        why = (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
        if isinstance(error, OSError) and error.filename:
            return {}, f"[scanner] password_file {error.filename} cannot be read by the store: {why}"
        return {}, f"{url} cannot be asked: {why}: look at systemctl status rspamd"
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}, f"{url}/stat does not answer as rspamd's controller does: [scanner] controller names its port"
    return found, "" if found else "rspamd keeps no statistics: it needs a Redis, which local.d/redis.conf names"


def _statistics(body: bytes) -> dict[str, int]:
    return {str(each["symbol"]): int(each["revision"]) for each in json.loads(body)["statfiles"]}
