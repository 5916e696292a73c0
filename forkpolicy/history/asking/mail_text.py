"""A pasted mail as plain text: transfer encodings, encoded words, HTML, quoting and folded lines undone.

Not a parser of mail: what is pasted is often a part of one, and the shapes around it may be missing. Pure; never
raises, and takes time in proportion to the text.
"""

from __future__ import annotations

import base64
import html
import re
from email.header import decode_header, make_header
from typing import Final

_QUOTED_PRINTABLE: Final = re.compile(
    r"^content-transfer-encoding:[ \t]*quoted-printable", re.IGNORECASE | re.MULTILINE
)
_QUOTED_BYTES: Final = re.compile(r"(?:=[0-9A-Fa-f]{2})+")
_BASE64: Final = re.compile(
    r"^content-transfer-encoding:[ \t]*base64[^\n]*\n(?:[^\n]+\n){0,20}\n((?:[A-Za-z0-9+/=]{4,998}\n?)+)",
    re.IGNORECASE | re.MULTILINE,
)
_ENCODED_WORD: Final = re.compile(r"=\?[\w-]{1,40}\?[BbQq]\?[^?\s]{0,400}\?=")
_QUOTE_MARKS: Final = re.compile(r"^[>|][>| ]{0,40}", re.MULTILINE)
_TAG: Final = re.compile(
    r"</?(?:(br|p|div|tr|td|th|li|h[1-6]|table|pre|hr|title|blockquote)"
    r"|html|head|body|span|b|i|u|a|font|ul|ol|strong|em|meta|style|img|center|tt|code|wbr|tbody|small|o:p)"
    r"(?=[\s/>])[^<>]{0,2000}>",
    re.IGNORECASE,
)
_FOLD: Final = re.compile(r"(?<=[^\n])\n[ \t]+")


def plain_text(text: str) -> str:
    """The text as people read it, with folded lines as one."""
    text = text.replace("\r\n", "\n")
    if _QUOTED_PRINTABLE.search(text):
        text = _QUOTED_BYTES.sub(_of_quoted_bytes, text.replace("=\n", ""))
    text = _BASE64.sub(_of_base64, text)
    text = _QUOTE_MARKS.sub("", text)
    text = _ENCODED_WORD.sub(_of_encoded_word, text)
    text = html.unescape(_TAG.sub(lambda found: "\n" if found[1] else "", text))
    return _FOLD.sub(" ", text)


def _of_quoted_bytes(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("=", "")).decode("utf-8", "replace")


def _of_base64(found: re.Match[str]) -> str:
    try:
        return "\n\n" + base64.b64decode(found[1]).decode("utf-8", "replace") + "\n"
    except ValueError:
        return found[0]


def _of_encoded_word(found: re.Match[str]) -> str:
    try:
        return str(make_header(decode_header(found[0])))
    except (ValueError, LookupError):
        return found[0]
