"""What the store reads of a mail's header: subject, From, and what the scanner found. Pure; never raises.

rspamd's milter writes `X-Spamd-Result: default: False [6.10 / 15.00]; SYMBOL(1.00)[option], ...`
(rspamd.com/doc/modules/milter_headers.html, routine x-spamd-result). Options have senders' words in them, so symbols
are for people alone; who vouches for the sender stands in `X-Spamd-Auth: spf dkim=example.org` (setup/rspamd_text.py).
What a sender writes under these names Postfix takes out before the scanner sees it (setup/postfix_text.py): some
results of rspamd come without them. Should there be two all the same, the larger score counts and no authentication.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from email.policy import compat32
from typing import TYPE_CHECKING, Final

from forkpolicy.tables.keys import fold_domain

if TYPE_CHECKING:
    from email.message import Message

# More than any mail program writes; what is behind it is not read.
HEADER_BYTES: Final = 256 << 10
_MOST_CHARACTERS: Final = 500
# Of a header as it stands, folded and encoded.
_MOST_ENCODED: Final = 8000
_SCORE: Final = re.compile(r"\[\s*(-?[0-9]+(?:\.[0-9]+)?)\s*/")
_SYMBOL: Final = re.compile(r"([A-Z][A-Z0-9_]{1,60})\((-?[0-9]+(?:\.[0-9]+)?)\)(?:\[[^\]]*\])?")
_MOST_SYMBOLS: Final = 200


@dataclass(frozen=True, slots=True)
class Letter:
    """`symbols`: names with their scores. `spam_auth`: `pass` where SPF or an aligned DKIM signature vouches for the
    sender; else empty.
    """

    subject: str
    from_header: str
    message_id: str
    spam_score: float | None
    spam_auth: str
    symbols: tuple[tuple[str, float], ...]


def read_letter(head: bytes, sender: str) -> Letter:
    """Of the first HEADER_BYTES of a mail, and its envelope sender."""
    end = re.search(rb"\r?\n\r?\n", head)
    message = BytesHeaderParser(policy=compat32).parsebytes(head[: end.end()] if end else head)
    results = [_text(each) for each in message.get_all("X-Spamd-Result", [])]
    scores = [float(found[1]) for each in results if (found := _SCORE.search(each))]
    symbols = [each for result in results for each in _SYMBOL.findall(result)][:_MOST_SYMBOLS]
    vouched = [_text(each) for each in message.get_all("X-Spamd-Auth", [])]
    return Letter(
        _header(message, "Subject"),
        _header(message, "From"),
        _header(message, "Message-ID"),
        max(scores, default=None),
        "pass" if len(results) == 1 and len(vouched) == 1 and _is_of(sender, vouched[0].split()) else "",
        tuple((name, float(score)) for name, score in symbols),
    )


def _is_of(sender: str, vouched: list[str]) -> bool:
    """Whether SPF allows the client to send for the envelope sender, or a signature of that sender's domain is good."""
    domain = fold_domain(sender.rpartition("@")[2])
    signed = [fold_domain(each.removeprefix("dkim=")) for each in vouched if each.startswith("dkim=")]
    aligned = any(domain == each or domain.endswith(f".{each}") for each in signed if "." in each)
    return bool(domain) and ("spf" in vouched or aligned)


def _header(message: Message, name: str) -> str:
    """A header as people read it, on one line; as it stands where it cannot be decoded."""
    raw = _text(message.get(name, ""))[:_MOST_ENCODED]
    try:
        text = str(make_header(decode_header(raw)))
    except (ValueError, LookupError, MessageError):
        text = raw
    text = text.encode("utf-8", "replace").decode()
    return "".join(each if each.isprintable() else " " for each in text)[:_MOST_CHARACTERS].strip()


def _text(value: object) -> str:
    """Raw bytes come as surrogates, in str or Header: they are UTF-8 most often."""
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
