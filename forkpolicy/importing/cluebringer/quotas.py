"""Quotas and their limits as `rate`, in the order of their policies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from forkpolicy.durations import LONGEST_S, show_duration
from forkpolicy.importing.cluebringer.logic import ALWAYS, Condition, TooManyError, both, negated
from forkpolicy.importing.cluebringer.policies import number
from forkpolicy.importing.cluebringer.replies import reply_of

if TYPE_CHECKING:
    from forkpolicy.importing.cluebringer.policies import Policies
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.sql.database import Database
    from forkpolicy.importing.sql.dump import Row

WINDOWS: Final = (
    "a counter of the old server drains all the time, so that who pauses for half a period may send half of it again; "
    "here no window of that length has more than the limit"
)
SIZES: Final = (
    "the old server counts a message once for each recipient, in units of 1024 bytes; here it counts once, in bytes"
)
LOGINS: Final = "mail without a login shares one counter there; here it is not counted by login"
_COUNTING: Final = {
    "messagecount": ("recipients", "", "Policy rejection; Message count quota exceeded"),
    "messagecumulativesize": ("bytes", "K", "Policy rejection; Cumulative message size quota exceeded"),
}
_KEYS: Final = {
    ("policy", ""): ("{request}",),
    ("saslusername", ""): ("{sasl_username}",),
    ("sender", "user@domain"): ("{sender}",),
    ("sender", "user@"): ("{sender_localpart}",),
    ("sender", "@domain"): ("{sender_domain}",),
    ("recipient", "user@domain"): ("{recipient}",),
    ("recipient", "user@"): ("{recipient_localpart}",),
    ("recipient", "@domain"): ("{recipient_domain}",),
}
_MASK: Final = re.compile(r"/(\d{1,2})")


class Quotas:
    """The quotas of one database."""

    def __init__(self, database: Database, policies: Policies, draft: Draft) -> None:
        self._policies, self._draft = policies, draft
        self._limits: dict[str, list[Row]] = {}
        for row in database.rows("quotas_limits"):
            if row.get("disabled") != "1":
                self._limits.setdefault(row.get("quotasid"), []).append(row)

    def write(self) -> None:
        """All rules; where a quota is the last, those behind it are not about the same mail."""
        others = ALWAYS
        notes: dict[str, Row] = {}
        for condition, quota in self._policies.rows("quotas"):
            try:
                self._quota(both(condition, others), quota, notes)
                if quota.get("lastquota") == "1":
                    others = both(others, negated(condition))
            except TooManyError:
                self._leave_out(quota, "it would be more rules than anybody wants to read")
            except ValueError as error:
                self._leave_out(quota, str(error))
        for text, row in notes.items():
            self._draft.note(row.origin, text)

    def _quota(self, condition: Condition, quota: Row, notes: dict[str, Row]) -> None:
        """One quota. Raises ValueError."""
        keys = _keys(quota.get("track"))
        period_s = min(number(quota, "period"), LONGEST_S)
        if not period_s:
            raise ValueError("a quota without a period")
        for limit in self._limits.get(quota.get("id"), []):
            counting = _COUNTING.get(limit.get("type").lower())
            most = number(limit, "counterlimit")
            if counting is None or not most:
                self._draft.leave_out(
                    limit.origin, f"{limit.get('type')} {limit.get('counterlimit')}", "not a valid limit"
                )
                continue
            count, unit, text = counting
            name = f"quota_{quota.get('name')}_{count}"
            acl = self._draft.acl(name, "rate", [*keys, f"{most}{unit}/{show_duration(period_s)}", f"count={count}"])
            if not quota.get("verdict"):
                self._draft.leave_out(quota.origin, f"quota {quota.get('name')}", "it has no verdict and does nothing")
                return
            action = self._draft.action(
                f"over_{quota.get('name')}", reply_of(quota.get("verdict"), quota.get("data") or text)
            )
            for terms in condition:
                self._draft.access([*sorted(terms), acl], action, limit.origin)
            notes.setdefault(WINDOWS, quota)
            if count == "bytes":
                notes.setdefault(SIZES, quota)
            if keys == ("{sasl_username}",):
                notes.setdefault(LOGINS, quota)

    def _leave_out(self, quota: Row, reason: str) -> None:
        self._draft.leave_out(quota.origin, f"quota {quota.get('name')}", reason, "acl NAME rate {KEY} LIMIT/WINDOW")


def _keys(track: str) -> tuple[str, ...]:
    """The keys of the ACL, with their mask. Raises ValueError."""
    method, _, spec = track.strip().lower().partition(":")
    if method == "senderip" and (found := _MASK.fullmatch(spec)) and 1 <= int(found[1]) <= 32:
        return ("{client_address}", f"mask=/{found[1]},/{128 if found[1] == '32' else 64}")
    if method in ("sender", "recipient"):
        spec = spec or "user@domain"
    if method in ("policy", "saslusername"):
        spec = ""
    if keys := _KEYS.get((method, spec)):
        return keys
    raise ValueError(f"Track {track}: expected Policy, SenderIP:/24, SASLUsername, Sender:user@domain and the like")
