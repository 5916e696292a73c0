"""`forkpolicy import --compare REQUESTS`: the imported policy and the server that it comes from, asked the same.

The original is started once and asked in order, as its own Postfix would; both decide as of now. Differences go to
standard output, each with the request's number, both replies, and our rule with its origin; a summary line ends them.
Raises UsageError where there is no original, and what starting it raises.
"""

from __future__ import annotations

import shlex
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.import_rules.deciding import deciding
from forkpolicy.commands.shared.request_log import NOT_A_REQUEST, RequestLog
from forkpolicy.errors import UsageError
from forkpolicy.importing.formats import load_format
from forkpolicy.protocol.request import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.commands.import_rules.deciding import Imported
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.formats import Format, Inputs, Original
    from forkpolicy.policy.model import Rule
    from forkpolicy.protocol.request import Request

# Asked together: originals answer a batch much faster than one by one.
_BATCH: Final = 1000
# More lines than this say nothing new; all are counted.
_SHOWN: Final = 100
# What tells one request from another, for people.
_NAMED: Final = ("protocol_state", "client_address", "client_name", "helo_name", "sender", "recipient", "sasl_username")


def refuse_incomparable(form: Format) -> None:
    """Raises UsageError for a format whose program cannot be asked."""
    if form.original is None:
        why = form.no_original or "there is no program that could be asked"
        raise UsageError(f"--compare: {form.title}: {why}; forkpolicy replay shows what the imported policy decides")


def compare(name: str, inputs: Inputs, draft: Draft, file: str) -> bool:
    """Ask both, and print. Whether they agree about every request."""
    form = load_format(name)
    refuse_incomparable(form)
    assert form.original is not None
    requests = RequestLog(file)
    with closing(requests), deciding(draft) as imported, form.original(inputs) as original:
        comparison = Comparison(form, draft, imported, original)
        for line in comparison.lines(requests):
            print(line)
    if not comparison.asked:
        raise UsageError(requests.why_nothing())
    print("\n".join(comparison.summary(requests)))
    return not comparison.different


class Comparison:
    """Both servers, and what they replied."""

    def __init__(self, form: Format, draft: Draft, imported: Imported, original: Original) -> None:
        self._form, self._draft = form, draft
        self._imported, self._original = imported, original
        self.asked = self.different = 0

    def lines(self, requests: RequestLog) -> Iterator[str]:
        """The first differences, in order."""
        numbered = self._numbered(requests)
        while batch := list(islice(numbered, _BATCH)):
            theirs = self._original.replies([request.attributes for _, request in batch])
            for (number, request), reply in zip(batch, theirs, strict=True):
                yield from self._line(f"{requests.name}: request {number}", request, reply)

    def summary(self, requests: RequestLog) -> Iterator[str]:
        """How many there were, and what was not compared."""
        if self.different > _SHOWN:
            yield f"({self.different - _SHOWN:,} more differences)"
        for why, count in requests.left_out.items():
            yield f"{count:,} left out: {why}"
        if self._imported.not_asked:
            names = ", ".join(self._imported.not_asked)
            yield f"not asked, and taken as what cannot be known: {names} (they ask the DNS or other servers)"
        equal = self.asked - self.different
        yield f"{self.asked:,} requests compared with {self._form.title}: {equal:,} equal, {self.different:,} different"

    def _numbered(self, requests: RequestLog) -> Iterator[tuple[int, Request]]:
        for number, past in enumerate(requests, 1):
            try:
                yield number, past.request()
            except ProtocolError:
                requests.left_out[NOT_A_REQUEST] += 1

    def _line(self, place: str, request: Request, theirs: str) -> Iterator[str]:
        rule, ours = self._imported.decide(request)
        self.asked += 1
        if self._form.same_reply(theirs, ours):
            return
        self.different += 1
        if self.different > _SHOWN:
            return
        named = [f"{name}={request.get(name)}" for name in _NAMED if request.get(name)]
        yield f"{place}: {' '.join(shlex.quote(each) for each in named)}".encode("ascii", "backslashreplace").decode()
        yield f"    original: {theirs}"
        failed = f" ({self._imported.failed})" if self._imported.failed else ""
        yield f"    imported: {ours}{failed}"
        yield f"    by {self._by(rule)}"

    def _by(self, rule: Rule) -> str:
        if rule.place is None:
            return "no rule: the action default, or on_error"
        return f"{self._draft.origins[rule.number]}: {rule.text}"
