"""The page Queue: what waits in the Postfix of this machine, by domain, age and reason."""

from __future__ import annotations

from dataclasses import asdict
from shlex import quote as shell_quote
from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import UserMistake
from forkpolicy.console.page import Notice, Page, Rows
from forkpolicy.console.queue.figures import MOST_GROUPS, OTHERS, Figures, Group, domain_of, reason_of
from forkpolicy.console.rendering import ago
from forkpolicy.postfix.queued_mail import QueueError, QueueListing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkpolicy.console.queue.reading import Seen
    from forkpolicy.console.visit import Visit
    from forkpolicy.postfix.queued_mail import QueuedMail, Waiting

_MOST_SHOWN: Final = 50
_COLUMNS: Final = ("queue", "queue_id", "arrived_s", "size_bytes", "sender", "recipient", "reason")
# What can be asked for: the oldest mails of one group.
_GROUPS: Final = ("domain", "reason", "queue")


def show(visit: Visit) -> Page:
    """All of it, or the oldest mails of a domain, a reason or a queue. Raises UserMistake."""
    wanted = _wanted(visit)
    rows = Rows(_COLUMNS, _every(visit.parts.queue.directory, wanted))
    place = visit.parts.queue.directory
    command = f"postqueue -c {shell_quote(place)} -j" if place else "postqueue -j"
    try:
        seen, (data, sentence) = visit.parts.queue.look(lambda seen, figures: _view(seen, figures, wanted, visit.now_s))
    except QueueError as error:
        visit.notices.append(Notice(f"the queue: {error}"))
        empty = {"is_known": False, "wanted": wanted, "mails": None, "read_s": None}
        return Page("queue/page", "Queue", "What waits cannot be known now.", empty, command)
    if seen.warning:
        visit.notices.append(Notice(f"postqueue: {seen.warning}"))
    if not seen.is_whole:
        visit.notices.append(Notice(_partly(seen)))
    data |= {"next_hops": _next_hops(visit)}
    data |= {"is_known": True, "wanted": wanted, "read_s": seen.at_s, "is_whole": seen.is_whole}
    return Page("queue/page", "Queue", sentence, data, command, rows)


def _next_hops(visit: Visit) -> dict[str, str]:
    """Where mail for each domain of the gateway goes, as its domains file says."""
    gateway = visit.parts.gateway
    domains = visit.known("the domains file", lambda: gateway.domains) if gateway.is_on else None
    return {name: each.relay for name, each in (domains or {}).items()}


def _wanted(visit: Visit) -> dict[str, str]:
    found = {name: visit.text(name, most=400) for name in _GROUPS if name in visit.query}
    if len(found) > 1:
        raise UserMistake(f"expected one of {', '.join(_GROUPS)}, got {' and '.join(found)}")
    return found


def _partly(seen: Seen) -> str:
    if seen.goes_on:
        return "The queue is long and still being read: these are the first mails. Look again for the others."
    return "The queue is so long that not all of it was read: these are the first mails that postqueue listed."


def _view(seen: Seen, figures: Figures, wanted: Mapping[str, str], now_s: float) -> tuple[dict[str, object], str]:
    """The data of a page, and its sentence."""
    return _data(figures, wanted), _sentence(seen, figures, now_s)


def _data(figures: Figures, wanted: Mapping[str, str]) -> dict[str, object]:
    by_name: dict[str, Mapping[str, Group]] = {
        "domain": figures.domains,
        "reason": figures.reasons,
        "queue": figures.queues,
    }
    chosen = figures.whole
    for name, value in wanted.items():
        chosen = by_name[name].get(value, Group())
    return {
        "mails": figures.whole.mails,
        "recipients": figures.whole.recipients,
        "oldest_s": figures.whole.oldest_s or None,
        "ages": list(figures.whole.ages),
        "domains": _groups(figures.domains),
        "domain_count": _count(figures.domains),
        "reasons": _groups(figures.reasons),
        "reason_count": _count(figures.reasons),
        "queues": _groups(figures.queues),
        "chosen": _group("", chosen),
        "rows": [asdict(each) for each in chosen.rows],
    }


def _groups(groups: Mapping[str, Group]) -> list[dict[str, object]]:
    """Those with the most recipients."""
    most = sorted(groups.items(), key=lambda each: (-each[1].recipients, each[0]))[:_MOST_SHOWN]
    return [_group(name, each) for name, each in most]


def _count(groups: Mapping[str, Group]) -> int | None:
    """How many there are; None where that is not known any more."""
    return None if OTHERS in groups and len(groups) >= MOST_GROUPS else len(groups)


def _group(name: str, group: Group) -> dict[str, object]:
    return {
        "name": name,
        "mails": group.mails,
        "recipients": group.recipients,
        "oldest_s": group.oldest_s or None,
        "ages": list(group.ages),
        "reason": group.main_reason,
        "peer": group.peer,
    }


def _sentence(seen: Seen, figures: Figures, now_s: float) -> str:
    whole, domains = figures.whole, _count(figures.domains)
    if not whole.mails:
        return "Nothing waits: the queue is empty." if seen.is_whole else "Nothing was read of the queue yet."
    mails, recipients = _number(whole.mails, "mail"), _number(whole.recipients, "recipient")
    text = f"{'' if seen.is_whole else 'At least '}{mails} for {recipients} wait{'s' * (whole.mails == 1)}"
    where = f" in {_number(domains, 'domain')}" if domains and domains > 1 else ""
    return f"{text}{where}; the oldest came {ago(whole.oldest_s, now_s)}."


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _every(directory: str, wanted: Mapping[str, str]) -> Iterator[Sequence[object]]:
    """A line a recipient, read as it is sent. Raises QueueError."""
    with QueueListing(directory) as listing:
        for mail in listing.mails():
            about = (mail.queue, mail.queue_id, mail.arrived_s, mail.size_bytes, mail.sender)
            yield from (
                (*about, each.address, each.reason) for each in mail.recipients if _is_wanted(mail, each, wanted)
            )


def _is_wanted(mail: QueuedMail, waiting: Waiting, wanted: Mapping[str, str]) -> bool:
    values = {"domain": domain_of(waiting), "reason": reason_of(mail, waiting), "queue": mail.queue}
    return all(values[name] == value for name, value in wanted.items())
