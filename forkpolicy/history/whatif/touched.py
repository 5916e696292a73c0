"""Which rules of some files differ between two policies, where each rule stands for what it and its ACLs say.

A request for which none of these may fire or fail is decided by both policies alike: the others stand in both, in the
same order. Pure.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from forkpolicy.policy.model import Acl, Action, Model, Rule


def differing_rules(before: Model, after: Model, paths: Collection[str]) -> tuple[list[Rule], list[Rule]]:
    """The rules of `paths` that only the one and only the other policy has, or has in another order."""
    one, other = (_of_files(model, paths) for model in (before, after))
    kept = SequenceMatcher(None, [_said(rule) for rule in one], [_said(rule) for rule in other], autojunk=False)
    for begin, begin_other, count in reversed(kept.get_matching_blocks()):
        del one[begin : begin + count], other[begin_other : begin_other + count]
    return one, other


def extended_acls(model: Model, paths: Collection[str]) -> list[Acl]:
    """ACLs that other files declare and to which these add values."""
    acls = model.acls.values()
    return [acl for acl in acls if len({word.place.path in paths for word in (acl.word, *acl.words)}) > 1]


def _of_files(model: Model, paths: Collection[str]) -> list[Rule]:
    return [rule for rule in model.rules if rule.place and rule.place.path in paths]


def _said(rule: Rule) -> Hashable:
    """Equal for rules that are met by the same requests and reply the same."""
    return rule.text, rule.is_note, _action(rule.action), tuple(_acl(acl) for acl in rule.asked_acls)


def _acl(acl: Acl) -> Hashable:
    return acl.name, acl.type_name, acl.silent, tuple(word.text for word in acl.words)


def _action(action: Action) -> Hashable:
    return action.kind, action.reply, action.template, action.amount, repr(action.deed)
