"""Commands to the store at its socket, and its replies: declared here, checked on both sides (documents.py).

A client sends one JSON object on a line, with the name of the command in `command`, and gets one on a line. After the
reply to ReadMail `size_bytes` raw bytes follow. Every command about mail carries a Scope, and the store replies as if
nothing else existed: mail of another person is the same as none (`no_such_mail`).

Times are seconds since 1970, sizes bytes. A command may be of another release: unknown fields are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from forkpolicy.documents import InvalidDocumentError, parse
from forkpolicy.gateway.digest_messages import (
    DigestFailed,
    DigestFailure,
    DigestsDue,
    DigestSent,
    DigestsRan,
    DueDigests,
    LinkedMail,
    ShowLink,
    UseLink,
)

# What a held mail may be. `held`: waits for a person. `releasing`: is to be sent on. `sent`: Postfix has it and the
# mail log does not say yet what became of it. `delivered`: the next server took it. The last three have no file.
STATES: Final = ("held", "releasing", "sent", "delivered", "deleted", "expired")


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose mail a visitor may see: all of it, or that of addresses and of domains, all in lower case."""

    everything: bool = False
    addresses: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which held mail: empty fields ask nothing. `text` is a part of subject, sender or recipient. `queue_ids`: those
    of Postfix under which it came, or was sent on.
    """

    state: str = "held"
    cause: str = ""
    recipient: str = ""
    sender: str = ""
    text: str = ""
    requested: bool = False
    queue_ids: tuple[str, ...] = ()


# Commands


@dataclass(frozen=True, slots=True)
class ListHeld:
    """At most `most` of them, the newest first: those older than (`before_s`, `before_id`), the last of a page."""

    scope: Scope
    wanted: Wanted = field(default_factory=Wanted)
    before_s: float | None = None
    before_id: int = 0
    most: int = 50


@dataclass(frozen=True, slots=True)
class ShowHeld:
    """One of them, with its headers and what happened to it."""

    scope: Scope
    id: int


@dataclass(frozen=True, slots=True)
class ReadMail:
    """Its bytes as they arrived."""

    scope: Scope
    id: int


@dataclass(frozen=True, slots=True)
class ReleaseHeld:
    """Send them on to their recipients. `learn`: the scanner learns that they are no spam."""

    scope: Scope
    ids: tuple[int, ...]
    by: str
    learn: bool = False


@dataclass(frozen=True, slots=True)
class DeleteHeld:
    """Delete them. `learn`: the scanner learns that they are spam."""

    scope: Scope
    ids: tuple[int, ...]
    by: str
    learn: bool = False


@dataclass(frozen=True, slots=True)
class RequestRelease:
    """Ask an administrator of the domain to release them."""

    scope: Scope
    ids: tuple[int, ...]
    by: str


@dataclass(frozen=True, slots=True)
class HideSender:
    """Delete what is held of a sender for a recipient, who blocks that sender. Each is an address, or a domain for all
    addresses in it.
    """

    scope: Scope
    recipient: str
    sender: str
    by: str


@dataclass(frozen=True, slots=True)
class ShowDigestChoice:
    """What an address of the scope has chosen about its digests."""

    scope: Scope
    address: str


@dataclass(frozen=True, slots=True)
class ChooseDigest:
    """Choose for an address of the scope. `schedule`: off, daily or weekly; empty: as its domain has it. `language`:
    empty: as `[digest] language` has it.
    """

    scope: Scope
    address: str
    schedule: str
    language: str
    by: str


@dataclass(frozen=True, slots=True)
class Expire:
    """Expire what is older than `keep_days`, and what is over `keep_bytes`."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What became of everything that was accepted."""


@dataclass(frozen=True, slots=True)
class ShowTroubles:
    """What needs a person, without what takes time to count."""


@dataclass(frozen=True, slots=True)
class ShowTraining:
    """What the scanner was to learn of everybody's mail, and what it says of itself."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What the store has and how it does."""


Command = (
    ListHeld
    | ShowHeld
    | ReadMail
    | ReleaseHeld
    | DeleteHeld
    | RequestRelease
    | HideSender
    | ShowDigestChoice
    | ChooseDigest
    | DigestsDue
    | DigestSent
    | DigestFailed
    | DigestsRan
    | ShowLink
    | UseLink
    | Expire
    | Ledger
    | ShowTroubles
    | ShowTraining
    | StoreStatus
)
COMMANDS: Final[dict[str, type[Command]]] = {
    "list": ListHeld,
    "show": ShowHeld,
    "read": ReadMail,
    "release": ReleaseHeld,
    "delete": DeleteHeld,
    "request": RequestRelease,
    "hide": HideSender,
    "digest-choice": ShowDigestChoice,
    "choose-digest": ChooseDigest,
    "digests-due": DigestsDue,
    "digest-sent": DigestSent,
    "digest-failed": DigestFailed,
    "digests-ran": DigestsRan,
    "show-link": ShowLink,
    "use-link": UseLink,
    "expire": Expire,
    "ledger": Ledger,
    "troubles": ShowTroubles,
    "training": ShowTraining,
    "status": StoreStatus,
}


def parse_command(fields: dict[str, object]) -> Command:
    """The command of a client, which may be of another release. Raises InvalidDocumentError."""
    name = fields.get("command")
    if not isinstance(name, str) or name not in COMMANDS:
        raise InvalidDocumentError(f"unknown command {name!r}")
    return parse(COMMANDS[name], fields, others=True)


# Replies


@dataclass(frozen=True, slots=True)
class HeldRow:
    """One copy of one mail: that of one recipient. `cause`: policy, spam or virus; `why`: in words, as policy or
    scanner said. `requested_by`: who asked for its release. `backend_reply`: the words of a refusal by the next server.
    """

    id: int
    arrived_s: float
    sender: str
    recipient: str
    subject: str
    from_header: str
    size_bytes: int
    cause: str
    why: str
    spam_score: float | None
    spam_auth: str
    client_address: str
    client_name: str
    helo_name: str
    queue_id: str
    state: str
    changed_s: float
    changed_by: str
    requested_by: str = ""
    backend_reply: str = ""
    new_queue_id: str = ""


@dataclass(frozen=True, slots=True)
class HeldRows:
    """A page of them; `more`: there are older ones."""

    rows: tuple[HeldRow, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class HeldMail:
    """One of them, its headers as text, the scanner's symbols with their scores, what happened: (when, who, what)."""

    row: HeldRow
    headers: str
    symbols: tuple[tuple[str, float], ...]
    events: tuple[tuple[float, str, str], ...]


@dataclass(frozen=True, slots=True)
class MailSize:
    """So many bytes follow the line."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Changed:
    """So many were changed. `already`: ids that had another state, with it: two people clicked, or it has expired."""

    changed: int
    already: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DigestChoice:
    """What an address has chosen; empty: nothing."""

    schedule: str
    language: str


@dataclass(frozen=True, slots=True)
class LedgerReply:
    """Recipients' copies by state; `accepted` is their sum. `twice`: copies that may have arrived twice, each a row id
    with the queue ids of both tries. `unclean_ends`: how often the store was killed, which bounds `twice`. `wrong`:
    rows without a file and the like, in words; empty in a store that is whole. `pruned`: copies of `accepted` whose
    rows are gone. `broken`: as `twice`, where the connection to the release port broke instead, and the mail log did
    not say what became of the first try.
    """

    accepted: int
    by_state: dict[str, int]
    twice: tuple[tuple[int, str, str], ...]
    unclean_ends: int
    wrong: tuple[str, ...]
    pruned: int = 0
    broken: tuple[tuple[int, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TroublesReply:
    """Errors in words. `digest_failures`: the newest first; `digests_ran_s`: when the last run of digests ended."""

    errors: tuple[str, ...]
    digest_failures: tuple[DigestFailure, ...]
    digests_ran_s: float | None


@dataclass(frozen=True, slots=True)
class Lesson:
    """A mail that somebody wanted to be learned at `at_s`. `kind`: spam or ham; `state`: wanted, learnt, known, later
    or failed; `words`: the scanner's. `held`: a row of it, 0: there is none any more.
    """

    at_s: float
    kind: str
    state: str
    words: str
    sender: str
    subject: str
    held: int


@dataclass(frozen=True, slots=True)
class TrainingReply:
    """`counts`: lessons by kind and state; `newest` of them first. `bayes`: mails that its statistics have, by symbol;
    `trouble`: why that is not known, or none are kept, with what to do.
    """

    counts: tuple[tuple[str, str, int], ...]
    newest: tuple[Lesson, ...]
    bayes: dict[str, int]
    trouble: str


@dataclass(frozen=True, slots=True)
class StatusReply:
    """Held copies by cause; when the oldest of `releasing` was released; room; errors that need a person, in words.
    `learnt`: mails by what the scanner answered: learnt, known, later, failed. `digest_failures`: the newest first;
    `digests_ran_s`: when the last run of digests ended.
    """

    held: dict[str, int]
    releasing: int
    oldest_releasing_s: float | None
    stored_bytes: int
    free_bytes: int
    learnt: dict[str, int]
    errors: tuple[str, ...]
    digest_failures: tuple[DigestFailure, ...] = ()
    digests_ran_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """`kind`: no_such_mail, not_yours (this user may not ask at all), invalid, failed."""

    kind: str
    error: str


Reply = (
    HeldRows
    | HeldMail
    | MailSize
    | Changed
    | DigestChoice
    | DueDigests
    | LinkedMail
    | LedgerReply
    | TrainingReply
    | TroublesReply
    | StatusReply
    | Refused
)
