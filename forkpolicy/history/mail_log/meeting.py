"""Whether a mail of the log is one that a query is about. Pure. Raises ValueError for words that no mail has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.tables.keys import fold_address, fold_domain, ip_key, ip_text, split_address

if TYPE_CHECKING:
    from forkpolicy.history.mail_log.mails import Delivery, Mail
    from forkpolicy.history.query import Names, Query


def search_text(query: Query) -> str:
    """What stands in a line of each mail that is meant: the rarest of the words, a recipient."""
    if query.rules or query.verbs or query.hosts or query.texts:
        raise ValueError("rule:, action:, host: and ~ are words about decisions: history find knows them")
    order = {"recipient": 0, "sender": 1, "login": 2}
    every = sorted(query.names, key=lambda names: (order[names.columns[0]], len(names.columns)))
    texts = [text for names in every if (text := _text_of(names))]
    texts += [text for ranges in query.clients for first, last in ranges if first == last and (text := _address(first))]
    if not texts:
        raise ValueError("expected to:, from:, client:, login: or queue:, and what to find")
    return texts[0]


def meets(query: Query, mail: Mail, delivery: Delivery) -> bool:
    """Whether this recipient of this mail meets all words."""
    key = ip_key(mail.client)
    return all(_has(names, mail, delivery) for names in query.names) and all(
        key is not None and any(first <= key <= last for first, last in ranges) for ranges in query.clients
    )


def _text_of(names: Names) -> str:
    if names.domain:
        return f"@{names.domain}"
    if names.beginning:
        return names.beginning
    return names.text or ("from=<>" if "sender" in names.columns else "")


def _address(key: bytes) -> str:
    return f"[{ip_text(key)}]"


def _has(names: Names, mail: Mail, delivery: Delivery) -> bool:
    values = {
        "sender": [] if mail.sender is None else [mail.sender],
        "recipient": [delivery.recipient, delivery.original] if delivery.recipient else [],
        "login": [mail.login] if mail.login else [],
    }
    return any(_is(names, value) for column in names.columns for value in values[column])


def _is(names: Names, value: str) -> bool:
    if names.domain:
        return fold_domain(split_address(value)[1]) == names.domain
    folded = fold_address(value)
    return folded.startswith(names.beginning) if names.beginning else folded == names.text
