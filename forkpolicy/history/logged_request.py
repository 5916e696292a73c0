"""A request that was asked in the past, or that somebody asks about, with what is known of when and of answers."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.protocol.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping


class PastRequest(NamedTuple):
    """One request: the bytes that Postfix sent, or the attributes that were logged and when (as text); `answers`: what
    ACLs answered it then, as the line has it.
    """

    raw: bytes | None = None
    attributes: dict[str, str] | None = None
    time: str = ""
    answers: Mapping[str, object] = MappingProxyType({})

    def request(self) -> Request:
        """All of it. Raises ProtocolError for bytes that are not a request."""
        if self.attributes is not None:
            return Request(self.attributes, None)
        assert self.raw is not None
        return Request.parse(self.raw)

    def time_s(self) -> float:
        """When it was logged, in seconds since 1970; 0 where that is not known."""
        try:
            return datetime.fromisoformat(self.time).timestamp()
        except ValueError:
            return 0.0
