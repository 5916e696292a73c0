"""Warnings about values, as each type and each matcher has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.types import type_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.model import Model


def value_warnings(model: Model) -> Iterator[Diagnostic]:
    """Warnings about the values of every ACL."""
    for acl in model.acls.values():
        yield from type_named(acl.type_name).warnings(acl.words)
        for matcher in acl.matchers:
            yield from matcher.warnings()
