"""A mail taken apart: its text, its HTML, its attachments. Pure. Never raises, whatever a stranger has written."""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import MessageError
from email.policy import compat32
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

# What is larger is not taken apart: it stands in memory some five times over meanwhile.
MOST_BYTES: Final = 16 << 20
_MOST_CHARACTERS: Final = 1 << 20
_MOST_PARTS: Final = 200
_MOST_NAME: Final = 120
# Those that mail has. Python knows others that are not alphabets, and some that take long.
_CHARSETS: Final = re.compile(
    r"ascii|utf-(7|8|16|32)|iso8859|cp\d|mac|koi8|gb|hz|big5|shift_ji|euc_|iso2022|johab|tis|ptcp|kz"
)
_BROKEN: Final = (LookupError, ValueError, TypeError, AttributeError, MessageError, RecursionError)


@dataclass(frozen=True, slots=True)
class Part:
    """An attachment: its place in the mail, and what it says that it is."""

    number: int
    name: str
    kind: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Content:
    """An attachment's bytes."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """`html` and `text`: what a mail program shows; None: the mail has none. `is_cut`: there is more of it. `why_not`:
    nothing of it can be shown.
    """

    html: str | None = None
    text: str | None = None
    parts: tuple[Part, ...] = ()
    is_cut: bool = False
    why_not: str = ""

    @property
    def is_html(self) -> bool:
        """Whether it is shown as HTML."""
        return self.html is not None


def read_letter(raw: bytes) -> Letter:
    """Of the bytes of a mail."""
    html: str | None = None
    texts: list[str] = []
    parts = []
    try:
        for number, each in _leaves(raw):
            kind = each.get_content_type()
            if not _is_attachment(each) and kind == "text/html" and html is None:
                html = _decoded(each)
            elif not _is_attachment(each) and kind == "text/plain":
                texts.append(_decoded(each))
            else:
                parts.append(Part(number, _name(each, number), kind, len(_bytes(each))))
    except _BROKEN:
        # A structure that Python's parser gives up on: the mail as it stands.
        texts, html = [raw[:_MOST_CHARACTERS].decode("utf-8", "replace")], None
    text = "\n\n".join(texts) if texts else None
    is_cut = any(len(each or "") > _MOST_CHARACTERS for each in (html, text))
    return Letter(html and html[:_MOST_CHARACTERS], text and text[:_MOST_CHARACTERS], tuple(parts), is_cut)


def part_of(raw: bytes, number: int) -> Content | None:
    """The part with that number; None: there is none."""
    try:
        for at, each in _leaves(raw):
            if at == number:
                return Content(_name(each, number), _bytes(each))
    except _BROKEN:
        pass
    return None


def _leaves(raw: bytes) -> Iterator[tuple[int, Message]]:
    """Parts that have no parts, in their order; a mail within a mail is taken apart, too."""
    found = 0
    for each in message_from_bytes(raw, policy=compat32).walk():
        if each.is_multipart():
            continue
        found += 1
        if found > _MOST_PARTS:
            return
        yield found, each


def _is_attachment(part: Message) -> bool:
    return part.get_content_disposition() == "attachment"


def _bytes(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _decoded(part: Message) -> str:
    raw, charset = _bytes(part), part.get_content_charset("utf-8")
    try:
        name = codecs.lookup(charset).name
        text = raw.decode(name if _CHARSETS.match(name) else "latin-1", "replace")
    except (LookupError, ValueError):
        text = raw.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")


def _name(part: Message, number: int) -> str:
    """The name of a file without what would change a directory or how a name reads."""
    try:
        name = part.get_filename("") or ""
    except _BROKEN:
        name = ""
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(each for each in name if unicodedata.category(each)[0] != "C").strip(" .")
    return name[-_MOST_NAME:] or f"part-{number}"
