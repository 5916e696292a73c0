"""One plan of a policy: the function that decides.

Rules in front of the first guarded one are straight-line code, so that what stands first in a policy costs what it
costs alone. Behind them an index picks candidates: guarded rules that may fire, each a function of its own that is made
when it is first picked, and the runs of unguarded rules between them, each one function. Candidates are tried in the
order of the policy. Where no index pays, all of it is straight-line code.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Final, cast

from forkpolicy.policy.plan.index import COSTS_US, guarded
from forkpolicy.policy.plan.probes import NONE, probe_of, skips_empty
from forkpolicy.policy.plan.source import SCORE, SHARED, PlanContext, Source, function, function_of_rule, scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from forkpolicy.policy.answers import Answers
    from forkpolicy.policy.model import Model, Rule
    from forkpolicy.policy.outcome import Outcome
    from forkpolicy.policy.plan.index import Guarded
    from forkpolicy.postfix.addresses import Views

    Block = tuple[Rule, ...]
    Decide = Callable[..., Outcome]
    # None: nothing of it has decided.
    Try = Callable[..., Outcome | None]


# Rules of long lists have one ACL, or two; the founding rule has four.
LIST_TERMS: Final = 2


def plan(
    model: Model,
    wanted: Sequence[str],
    outcomes: Sequence[Outcome],
    noted: list[Outcome],
    views: Views,
    answers: Answers,
    costs_us: Mapping[type, float] | None = None,
) -> Decide:
    """The function that decides as `model` says. Its arguments are the values of `wanted`; ACLs see them by `views`.

    It returns one of `outcomes`, which stand by number of rule, and appends those of `log` rules to `noted`. It raises
    what an ACL raises. `costs_us` says what an index of each kind must save.
    """
    indexes = guarded(model.rules[_front(model) :], COSTS_US if costs_us is None else costs_us)
    numbers = {each.number for index in indexes for each in index}
    blocks = _blocks(model.rules, numbers)
    first = () if not blocks or blocks[0][0].number in numbers else blocks.pop(0)
    shared, shares_score = _shared((first, *blocks)), any(scores(rule) for block in blocks for rule in block)
    context = PlanContext(wanted, outcomes, noted, views, answers, shared, shares_score=shares_score)
    source = Source(context)
    code = [(_begin(source, model, has_more=bool(blocks)), 0), *source.rules(first)]
    if blocks:
        always = [block[0].number for block in blocks if block[0].number not in numbers]
        code.append((_candidates(source, indexes, always, _Functions(blocks, context)), 0))
    code.append((f"return {source.value('end', outcomes[model.default_rule.number])}", 0))
    return cast("Decide", function("decide", ", ".join(context.arguments.values()), code, source.namespace))


def _front(model: Model) -> int:
    """How many rules are written out whatever guards them: the one that the author has put first, which an index would
    only delay, unless it is so short that it may begin a long list.
    """
    return 1 if model.rules and len(model.rules[0].terms) > LIST_TERMS else 0


def _blocks(rules: Iterable[Rule], guarded_numbers: set[int]) -> list[Block]:
    """The rules in order: each guarded one alone, unguarded ones together with their neighbours."""
    runs = groupby(rules, key=lambda rule: rule.number if rule.number in guarded_numbers else None)
    return [tuple(run) for _, run in runs]


def _shared(blocks: Iterable[Block]) -> set[int]:
    """The numbers of the ACLs that more than one function asks."""
    asked = Counter(number for block in blocks for number in {acl.number for rule in block for acl in rule.asked_acls})
    return {number for number, functions in asked.items() if functions > 1}


def _begin(source: Source, model: Model, *, has_more: bool) -> str:
    """What comes before the first rule."""
    context = source.context
    forget = [f"{source.value('begin', context.answers.begin)}()"]
    score = f"{SCORE!r}: 0.0" if context.shares_score else ""
    has_shared = bool(context.shared or context.shares_score)
    asks_once = model.remembers or any(acl.asked_once for acl in model.acls.values())
    return "\n".join(forget * asks_once + [f"{SHARED} = " + (f"{{{score}}}" if has_shared else "None")] * has_more)


def _candidates(source: Source, indexes: Sequence[Sequence[Guarded]], always: list[int], functions: _Functions) -> str:
    """Look into each index, and try what is found there and the functions of `always`, in the order of the policy."""

    def pick(found: Iterable[int]) -> list[Try]:
        return [functions[number] for number in sorted({*found, *always})]

    found = [f"*{_look(source, index)}" for index in indexes]
    nothing = source.value("always", tuple(functions[number] for number in always))
    values = ", ".join(source.arguments.values())
    return (
        f"found = ({', '.join(found)},)\n"
        f"for rule in {source.value('pick', pick)}(found) if found else {nothing}:\n"
        f" outcome = rule({SHARED}, {values})\n"
        " if outcome is not None:\n"
        "  return outcome"
    )


def _look(source: Source, index: Sequence[Guarded]) -> str:
    """The numbers of the rules that an index finds."""
    names, probe = probe_of(index)
    look = f"{source.value('probe', probe)}({', '.join(source.text_of(name) for name in names)})"
    if not skips_empty(index, probe):
        return look
    return f"({look} if {source.came(names[0])} else {source.value('none', NONE)})"


class _Functions(dict[int, "Try"]):
    """The function of each block by the number of its first rule, made when it is first needed."""

    def __init__(self, blocks: Iterable[Block], context: PlanContext) -> None:
        super().__init__()
        self._context = context
        self._blocks = {block[0].number: block for block in blocks}
        self._arguments = ", ".join((SHARED, *context.arguments.values()))

    def __missing__(self, number: int) -> Try:
        source = Source(self._context)
        code = source.rules(self._blocks[number])
        if len(code) == 1:
            made = function_of_rule(self._arguments, *code[0], source.namespace)
        else:
            made = function("rules", self._arguments, code, source.namespace)
        self[number] = cast("Try", made)
        return self[number]
