"""`spf RESULT...`: holds when SPF has one of these results for the client, the sender and the name it gave itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from forkpolicy.errors import nearest
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Asking, Matcher, Reading
from forkpolicy.protocol.attributes import FROM_MAIL
from forkpolicy.tables.keys import fold_domain
from forkpolicy.world import spf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Finding
    from forkpolicy.policy.nodes import Word
    from forkpolicy.state.store import Question


class SpfMatcher(Matcher):
    """The results for which one ACL holds."""

    attributes = ("client_address", "sender")
    known_states = FROM_MAIL
    # A client may send mail without ever saying what its name is.
    also_reads = ("helo_name",)
    asking = Asking.WAITS
    skips = True
    # The header has what the client calls itself.
    foreign_text = True

    def __init__(self, acl: str, results: frozenset[str]) -> None:
        self.acl = acl
        self.results = results

    def find(self, *_values: str) -> Finding | None:
        """Never: `question` and `read` say it."""
        raise AssertionError(f"acl {self.acl} asks the DNS")

    def question(self, values: Mapping[str, str | None]) -> Question[object] | None:
        """What SPF says of the message."""
        local, at, domain = (values["sender"] or "").rpartition("@")
        sender = f"{local}@{fold_domain(domain)}" if at else domain
        asked = spf.Spf(values["client_address"] or "", sender, fold_domain(values["helo_name"] or ""))
        return cast("Question[object]", asked)

    def read(self, answer: object) -> Reading:
        """`{match.ACL}`: the text of a Received-SPF header."""
        result, header, problem = cast("spf.SpfAnswer", answer)
        if result == spf.TEMPERROR and result not in self.results:
            return Reading(None, "", result, f"temperror: {problem}")
        return Reading(result in self.results, header, result)

    def in_words(self, question: Question[object], answer: object) -> str:
        """Who sends for whom, and the result."""
        asked, (result, _, problem) = cast("spf.Spf", question), cast("spf.SpfAnswer", answer)
        whose = asked.sender or f"the null sender of {asked.helo}"
        return f"{asked.client} for {whose}: {result}{problem and f' ({problem})'}"

    def covers(self) -> Extent:
        """A message has one result."""
        return Extent(frozenset(("spf", result) for result in self.results), space="spf")


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    results = {result for result, _ in context.parsed(words, _result)}
    try:
        spf.require()
    except ImportError as error:
        context.wrong(type_word, f"spf needs {error.name}, which is not installed", "pip install 'forkpolicy[dns]'")
    return [SpfMatcher(context.acl, frozenset(results))]


def _result(text: str) -> str:
    result = text.lower()
    if result not in spf.RESULTS:
        near = nearest(result, spf.RESULTS)
        hint = f'; did you mean "{near}"?' if near else ""
        raise ValueError(f'"{text}" is not a result of SPF: expected {", ".join(spf.RESULTS)}{hint}')
    return result


TYPE = AclType(_build)
