"""A draft is loaded as a policy before anybody sees it: what does not load is a bug of the importer, and is said.

Raises UnusableDraftError for a draft that does not load; the tables are declared and not opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import ConfigError, ForkpolicyError
from forkpolicy.files import Files
from forkpolicy.policy.load import check_policy
from forkpolicy.tables.live_table import LiveTable

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.policy.nodes import TableDeclaration

POLICY = "policy.conf"


class UnusableDraftError(ForkpolicyError):
    """The importer wrote a policy that does not load."""


class _DraftFiles(Files):
    """The policy from memory, value files from disk."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.snapshot[POLICY] = text.encode()


def checked(draft: Draft) -> Draft:
    """The draft, which loads. Raises UnusableDraftError."""
    try:
        check_policy(POLICY, _declared, _DraftFiles(draft.policy_text()))
    except ConfigError as error:
        shown = "\n".join(str(each) for each in error.diagnostics[:5])
        raise UnusableDraftError(
            f"the imported policy does not load, which is an error of this importer; please report it:\n{shown}"
        ) from error
    return draft


def _declared(declaration: TableDeclaration) -> LiveTable:
    return LiveTable(declaration.name, declaration.kind, "")
