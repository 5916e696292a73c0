"""What makes one policy decide a request otherwise than another one did: the ACL, the entry, the rule or the text.

Two traces of one request are compared, or what the log recorded of the rule that fired with a trace. Each rule that
decided in one of them is looked for in the other one: it is not there, a term of it is not met there, or another rule
comes before it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkpolicy.policy.evaluate import Looked, Trace, Tried
    from forkpolicy.policy.model import Model, Rule


@dataclass(frozen=True, slots=True)
class Difference:
    """One, in words. `acl`, `table` and `rule` name what it is about, where it is about one."""

    text: str
    acl: str = ""
    table: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an ACL found: an entry of a table, or a value of the policy. `place`: the line of either; `is_wanted`: an
    entry that is not has another value than the policy wants.
    """

    acl: str
    table: str = ""
    entry: str = ""
    value: str = ""
    place: str = ""
    is_wanted: bool = True


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: a policy, and what it did with the request."""

    model: Model
    trace: Trace

    @property
    def decided(self) -> Rule:
        """The rule that decided."""
        return self.trace.outcome

    def tried(self, rule: Rule) -> Tried | None:
        """What became of an equal rule."""
        return next((each for each in self.trace.tried if each.rule.text == rule.text), None)

    def has(self, rule: Rule) -> bool:
        """Whether it has an equal rule."""
        return rule.place is None or any(each.text == rule.text for each in self.model.rules)


def differences(then: Side, now: Side) -> list[Difference]:
    """Why `now` does not reply what `then` replied; none where it does for all that is known."""
    if then.decided.text == now.decided.text and then.decided.place:
        return list(_of_one_rule(then, now))
    found = [*_why_not_now(then, now), *_why_not_then(then, now)]
    return list(dict.fromkeys(found))


def _of_one_rule(then: Side, now: Side) -> Iterator[Difference]:
    """The same rule has another text: its action was changed, or what is put in."""
    old, new = then.decided.action, now.decided.action
    if old.reply != new.reply:
        yield Difference(f"action {old.name} was changed ({old.place}, now {new.place})", rule=now.decided.where)
    tried_then, tried_now = then.tried(then.decided), now.tried(now.decided)
    if tried_then and tried_now:
        for (before, negated), (after, _) in zip(tried_then.looked, tried_now.looked, strict=False):
            if not negated and seen(before) != seen(after):
                yield _of_acl(before.acl.name, seen(before), seen(after), before, after)


def _why_not_now(then: Side, now: Side) -> Iterator[Difference]:
    """What has become of the rule that decided then."""
    rule = then.decided
    if not now.has(rule):
        yield Difference(f"the rule of then is not in the policy now: {rule.where}: {rule.text}", rule=rule.where)
        return
    tried = now.tried(rule)
    if tried is None or tried.fired or rule.place is None:
        return
    looked_then = then.tried(rule)
    before = {each.acl.name: each for each, _ in looked_then.looked} if looked_then else {}
    yield from _last_term(tried, before, is_now=True)


def _why_not_then(then: Side, now: Side) -> Iterator[Difference]:
    """What has kept the rule that decides now from deciding then."""
    rule = now.decided
    if rule.place is None:
        return
    if not then.has(rule):
        yield Difference(
            f"a rule decides now that was not in the policy then: {rule.where}: {rule.text}", rule=rule.where
        )
        return
    tried_then, tried_now = then.tried(rule), now.tried(rule)
    if tried_then and tried_now and not tried_then.fired:
        after = {each.acl.name: each for each, _ in tried_now.looked}
        yield from _last_term(tried_then, after, is_now=False)
    elif tried_then is None:
        yield Difference(f"{rule.where} comes first now: {rule.text}", rule=rule.where)


def _last_term(tried: Tried, others: Mapping[str, Looked], *, is_now: bool) -> Iterator[Difference]:
    """The term at which a rule ended, which was met on the other side."""
    if not tried.looked:
        return
    here, _ = tried.looked[-1]
    there = others.get(here.acl.name)
    if there is None or there.answer is here.answer:
        return
    before, after = (there, here) if is_now else (here, there)
    yield _of_looked(before, after)


def _of_looked(before: Looked, after: Looked) -> Difference:
    """Of an ACL of type `any` that of the term which answers otherwise."""
    terms = {each.acl.name: each for each, _ in after.terms}
    for each, _ in before.terms:
        other = terms.get(each.acl.name)
        if other and other.answer is not each.answer:
            return _of_looked(each, other)
    return _of_acl(before.acl.name, seen(before), seen(after), before, after)


def _of_acl(name: str, old: Seen, new: Seen, before: Looked, after: Looked) -> Difference:
    found = difference_of(old, new)
    if found:
        return found
    answers = f"{before.answer.value} then and {after.answer.value} now"
    why = f" ({after.reason})" if after.reason and after.reason != after.answer.value else ""
    return Difference(f"acl {name}: {answers}{why}", acl=name)


def difference_of(old: Seen, new: Seen) -> Difference | None:
    """What an ACL found then and finds now, in words; None where neither is an entry or a value."""
    table = old.table or new.table
    if table and old.entry and old.entry == new.entry and old.value != new.value:
        text = f"{old.entry} had {_value(old.value)} ({old.place}) and has {_value(new.value)} ({new.place}) now"
    elif old.entry and new.entry and old.entry != new.entry:
        text = f"{old.entry} was found ({old.place}), and {new.entry} is now ({new.place})"
    elif old.entry:
        text = f"{old.entry} was an entry of {old.place} and is not one now"
    elif new.entry:
        text = f"{new.entry} is an entry of {new.place} now and was not one then"
    else:
        return None
    if table:
        return Difference(f"table {table}: {text}", old.acl or new.acl, table)
    return Difference(f"acl {old.acl or new.acl}: {text.replace(' an entry of ', ' a value at ')}", old.acl or new.acl)


def _value(value: str) -> str:
    return f"the value {value}" if value else "no value"


def seen(looked: Looked) -> Seen:
    """What a trace has of an ACL."""
    finding, name = looked.finding, looked.acl.name
    if finding is None or looked.terms:
        return Seen(name)
    if finding.entry:
        entry = finding.entry
        place = f"{entry.source}:{entry.line}" if entry.line else entry.source
        return Seen(name, finding.table, entry.key, entry.value or "", place, not finding.wanted)
    if looked.given or not finding.place:
        return Seen(name)
    return Seen(name, entry=finding.text, place=str(finding.place))


def recorded(term: Mapping[str, object]) -> Seen:
    """What a line of the log has of a term."""
    by = term.get("by")
    if isinstance(by, dict):
        return recorded(by)
    name, value = str(term.get("acl", "")).removeprefix("!"), str(term.get("value", ""))
    if "entry" in term:
        return Seen(name, str(term.get("table", "")), str(term["entry"]), value, str(term.get("source", "")))
    if "found" in term and "line" in term:
        return Seen(name, entry=str(term["found"]), place=str(term["line"]))
    return Seen(name)


def differences_of_line(rule: str, acls: str, terms: Sequence[Mapping[str, object]], now: Side) -> list[Difference]:
    """The same of a recorded decision: the `file:line` of its rule, the names of its ACLs, and what met them."""
    found: list[Difference] = []
    alike = [each for each in now.model.rules if each.shown_acls == acls]
    tried = next((each for each in now.trace.tried if each.rule in alike and not each.fired), None)
    if not alike and acls:
        found.append(Difference(f"the rule of then is not in the policy now: {rule}: {acls}", rule=rule))
    elif tried and tried.looked:
        looked, _ = tried.looked[-1]
        before = next((each for each in map(recorded, terms) if each.acl == looked.acl.name), Seen(looked.acl.name))
        found.append(
            difference_of(before, seen(looked))
            or Difference(f"acl {looked.acl.name}: {looked.answer.value} now", looked.acl.name)
        )
    decided = now.decided
    if decided.place and decided not in alike:
        found.append(Difference(f"{decided.where} decides now: {decided.text}", rule=decided.where))
    return found
