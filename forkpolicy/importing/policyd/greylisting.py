"""Greylisting of policyd version 1, with recipients who chose it or not (OPTINOUT)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.durations import show_duration
from forkpolicy.importing.sql.patterns import Texts

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.policyd.config import Config
    from forkpolicy.importing.sql.database import Database
    from forkpolicy.importing.sql.dump import Row


def greylist(database: Database, config: Config, draft: Draft) -> None:
    """The rules that greylist; none without policyd.conf, which has the times."""
    if not config.is_given or not config.is_on("GREYLISTING"):
        return
    delay_s = config.seconds("TRIPLET_TIME")
    window_s, keep_s = config.seconds("TRIPLET_UNAUTH_TIMEOUT"), config.seconds("TRIPLET_AUTH_TIMEOUT")
    if not 0 < delay_s < window_s or not keep_s:
        reason = (
            "TRIPLET_TIME, TRIPLET_UNAUTH_TIMEOUT and TRIPLET_AUTH_TIMEOUT must be set, and the first be the shortest"
        )
        draft.leave_out(config.origin, "GREYLISTING", reason, "acl NAME greylisting delay=5m window=2d keep=35d")
        return
    octets = config.number("GREYLIST_HOSTADDR")
    octets = octets if 1 <= octets <= 4 else 3
    times = [f"delay={show_duration(delay_s)}", f"window={show_duration(window_s)}", f"keep={show_duration(keep_s)}"]
    values = [*times, "auto=0", f"mask=/{octets * 8},/{128 if octets == 4 else 64}"]
    acl = draft.acl(
        "greylisted", "greylisting", [*values, *(["training"] if config.number("TRAINING_MODE") == 1 else [])]
    )
    action = draft.action("greylist", f"DEFER_IF_PERMIT {config.text('GREYLIST_REJECTION')}")
    for terms in _chosen(database, config, draft):
        draft.access([*terms, acl], action, config.origin)
    _not_carried_over(config, draft)


def _not_carried_over(config: Config, draft: Draft) -> None:
    if config.number("AUTO_WHITE_LISTING") == 1:
        nearest = "auto=N of greylisting: networks that have passed in N different hours wait no more"
        draft.leave_out(config.origin, "AUTO_WHITE_LISTING", "it counts triplets, auto= of greylisting hours", nearest)
    if config.number("AUTO_BLACK_LISTING") == 1:
        draft.leave_out(config.origin, "AUTO_BLACK_LISTING", "it counts triplets that never came again", "")
    if config.number("GREYLIST_X_HEADER") == 1:
        draft.note(config.origin, "mail that has waited gets no header X-Greylist")
    draft.note(config.origin, "senders that differ in numbers and extensions alone are one sender here")


def _chosen(database: Database, config: Config, draft: Draft) -> list[list[str]]:
    """The conditions under which a recipient is greylisted: one list of terms a rule."""
    if config.number("OPTINOUT") != 1:
        return [[]]
    chosen = _choices(database.rows("policy"), draft)
    by_default = config.number("OPTINOUTALL") == 1
    rules: list[list[str]] = []
    known: list[str] = []
    for name, kind, entries in (("address", "key", chosen.exact), ("domain", "domain", chosen.domains)):
        if not entries:
            continue
        table = draft.table(f"optin_{name}", kind, entries, config.origin)
        if any(entry.value == "1" for entry in entries):
            rules.append([*known, draft.acl(f"optin_{name}", "recipient", [f"table:{table}=1"])])
        known = [*known, f"!{draft.acl(f'chose_{name}', 'recipient', [f'table:{table}'])}"]
    return [*rules, *([known] if by_default else [])]


def _choices(rows: list[Row], draft: Draft) -> Texts:
    """The row of the highest priority for each recipient and domain; equal ones are nobody's."""
    texts = Texts("recipient")
    best: dict[str, Row] = {}
    for row in sorted(rows, key=_priority, reverse=True):
        best.setdefault(row.get("_rcpt").lower(), row)
    for rcpt, row in best.items():
        domain = best.get(f"@{rcpt.rpartition('@')[2]}") if not rcpt.startswith("@") else None
        if domain and _priority(domain) >= _priority(row):
            if domain.get("_optin") != row.get("_optin"):
                draft.leave_out(
                    row.origin, f"policy {rcpt}", f"the row of its domain has no lower priority ({domain.origin})"
                )
            continue
        try:
            texts.add_mail(rcpt, row.origin, "1" if row.get("_optin") != "0" else "0")
        except ValueError as error:
            draft.leave_out(row.origin, f"policy {rcpt}", str(error))
    return texts


def _priority(row: Row) -> int:
    text = row.get("_priority")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
