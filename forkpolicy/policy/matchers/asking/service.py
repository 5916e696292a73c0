"""`service ENDPOINT ACTION... [timeout=2s] [fail=error]`: what another policy server replies to the same request.

Holds when the first word of its reply is one of the ACTIONs. A server that does not reply leaves the ACL unknown, or
makes it fail.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from forkpolicy.addresses import MAX_PATH_BYTES
from forkpolicy.durations import parse_duration
from forkpolicy.endpoints import endpoint_mistake, is_same_socket
from forkpolicy.errors import nearest
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Asking, Matcher, Reading
from forkpolicy.policy.matchers.remembering.options import Options
from forkpolicy.protocol.reply import RESTRICTIONS, VERBS
from forkpolicy.world.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Finding
    from forkpolicy.policy.nodes import Word
    from forkpolicy.state.store import Question

TIMEOUT_S: Final = 2
# Postfix's own for a policy server.
LONGEST_S: Final = 100
USAGE: Final = "service ENDPOINT ACTION..., as in service unix:/run/postgrey/socket DEFER_IF_PERMIT"
_CODE: Final = re.compile(r"[45](?:\*|[0-9][0-9])", re.ASCII)
_LOOPBACK: Final = ("127.0.0.1", "[::1]")


class ServiceMatcher(Matcher):
    """One server, and the replies that make the ACL hold."""

    asking = Asking.WAITS | Asking.FAILS
    foreign_text = True
    asking_us = 3.0

    def __init__(self, service: Service, actions: Iterable[str], *, skips: bool) -> None:
        self.endpoint, self.skips = service.endpoint, skips
        self.actions = frozenset(actions)
        self.timeout_s = service.timeout_s
        self.replies = frozenset(f"{each[0]}xx" if each[0] in "45" else each for each in self.actions)
        self._question = cast("Question[object]", service)

    def question(self, values: Mapping[str, str | None]) -> Question[object] | None:  # noqa: ARG002 - it gets all of them
        """Always the same: the server reads the request itself."""
        return self._question

    def read(self, answer: object) -> Reading:
        """`{match.ACL}`: the whole reply."""
        reply = cast("str", answer)
        first = reply.split(None, 1)[0].upper()
        is_code = len(first) == 3 and first.isascii() and first.isdigit()
        holds = first in self.actions or (is_code and f"{first[0]}*" in self.actions)
        return Reading(holds, reply, "holds" if holds else "other")

    def in_words(self, question: Question[object], answer: object) -> str:
        """The server and its reply."""
        return f"{cast('Service', question).endpoint} replied {answer}"

    def find(self, *_values: str) -> Finding | None:
        """Never: `question` and `read` say it."""
        raise AssertionError(f"{self.endpoint} is asked")

    def covers(self) -> Extent:
        """Each action of this server."""
        return Extent(frozenset((f"service {self.endpoint}", action) for action in self.actions))


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    options = Options(words, ("timeout", "fail"), context)
    timeout_s = options.value("timeout", TIMEOUT_S, _timeout)
    skips = options.choice("fail", True, {"error": False, "skip": True})
    if len(options.rest) < 2:
        context.wrong(type_word, f"expected {USAGE}")
        return []
    word, *others = options.rest
    try:
        endpoint = _endpoint(word, context)
    except ValueError as error:
        context.wrong(word, str(error))
        return []
    actions = [action for action, _ in context.parsed(others, _action)]
    return [ServiceMatcher(Service(endpoint, timeout_s), actions, skips=skips)]


def _endpoint(word: Word, context: BuildContext) -> str:
    """The endpoint with its path from the root. Raises ValueError."""
    if mistake := endpoint_mistake(word.text):
        raise ValueError(mistake)
    endpoint = word.text
    if endpoint.startswith("unix:"):
        path = Path(word.place.path).parent / endpoint.removeprefix("unix:")
        if len(str(path).encode()) > MAX_PATH_BYTES:
            raise ValueError(f"the path of a socket has {MAX_PATH_BYTES} bytes at most, and {path} has more")
        endpoint = f"unix:{path}"
    own = next((each for each in context.own_sockets if _is_same(each, endpoint)), "")
    if own:
        raise ValueError(f"{own} is a socket of this server: it would ask itself")
    return endpoint


def _is_same(own: str, endpoint: str) -> bool:
    if endpoint.lower().startswith("inet:localhost:"):
        port = endpoint.rpartition(":")[2]
        return any(_is_same(own, f"inet:{address}:{port}") for address in _LOOPBACK) or own == endpoint.lower()
    return is_same_socket(own, endpoint, Path("/"))


def _timeout(text: str) -> int:
    timeout_s = parse_duration(text)
    if not 1 <= timeout_s <= LONGEST_S:
        raise ValueError(f"expected 1s to {LONGEST_S}s")
    return timeout_s


def _action(text: str) -> str:
    action = text.upper()
    if action in VERBS or _CODE.fullmatch(action) or text.lower() in RESTRICTIONS:
        return action
    near = nearest(text, [*VERBS, *RESTRICTIONS])
    hint = f'did you mean "{near.upper() if near.upper() in VERBS else near}"?' if near else ""
    expected = hint or f"expected {', '.join(VERBS)}, 4*, 5* or a code"
    raise ValueError(f'"{text}" is not an action of access(5): {expected}')


TYPE = AclType(_build, adds_up=False)
