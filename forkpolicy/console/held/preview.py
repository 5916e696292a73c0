"""The document in which a stranger's mail is shown: tags that carry text, and nothing that acts or asks for anything.

nh3 (ammonia) takes everything else out. Behind it stand a policy that allows one style, this one by its digest, and
`sandbox`, which gives the frame an origin of nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
from typing import TYPE_CHECKING, Final

import nh3

if TYPE_CHECKING:
    from forkpolicy.console.held.letter import Letter
    from forkpolicy.translations import Say

_STYLE: Final = (
    "html{font:15px/1.5 system-ui,sans-serif;background:#fff;color:#1c2024}body{margin:12px;overflow-wrap:anywhere}"
    "pre{white-space:pre-wrap;font:13px/1.5 monospace}table{border-collapse:collapse}td,th{padding:2px 6px;"
    "vertical-align:top;text-align:left}blockquote{margin:0 0 0 12px;padding-left:12px;border-left:3px solid #d5dade}"
    ".note{color:#555e67}"
)
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "sandbox"
)
# fmt: off
_TAGS: Final = frozenset((
        "a", "abbr", "b", "bdi", "blockquote", "br", "caption", "center", "cite", "code", "dd", "del", "div",
        "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "ins", "kbd", "li", "ol", "p", "pre",
        "q", "s", "small", "span", "strike", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th",
        "thead", "tr", "tt", "u", "ul",
))
# fmt: on
_SPANS: Final = {"td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}}
# Their content is nothing that a reader would see.
_WITH_CONTENT: Final = frozenset({"script", "style", "title", "noscript", "template"})


def document(letter: Letter, say: Say, *, as_text: bool = False) -> str:
    """The whole document."""
    return (
        "<!doctype html><html><head><meta charset=utf-8><title>-</title>"
        f"<style>{_STYLE}</style></head><body>{_notes(letter, say)}{_content(letter, as_text)}</body></html>"
    )


def _content(letter: Letter, as_text: bool) -> str:
    if letter.html is not None and not (as_text and letter.text is not None):
        return harmless(letter.html)
    return f"<pre>{html.escape(letter.text or '')}</pre>"


def _notes(letter: Letter, say: Say) -> str:
    notes = [letter.why_not] if letter.why_not else []
    if letter.is_cut:
        notes.append(say("This is the beginning of a long mail."))
    if not notes and not letter.html and not letter.text:
        notes.append(say("This mail has no text."))
    return "".join(f"<p class=note>{html.escape(each)}</p>" for each in notes)


def harmless(text: str) -> str:
    """HTML without what acts, loads or leads away: links keep their words only."""
    return nh3.clean(
        text,
        tags=set(_TAGS),
        clean_content_tags=set(_WITH_CONTENT),
        attributes=dict(_SPANS),
        url_schemes=set(),
        link_rel=None,
        strip_comments=True,
    )
