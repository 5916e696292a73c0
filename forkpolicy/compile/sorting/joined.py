"""Keys of tables that a policy asks for several attributes together: what can never be equal to them.

Such a key is compared as a whole, word by word as Postfix sends the attributes, so that a network, a domain or a `*`
in it would be an exception that never holds. ValueError says what is meant. Only attributes that have one form are
judged, and only keys with as many words as attributes: a blank may be part of a key in quotes.
"""

from __future__ import annotations

from typing import Final

from forkpolicy.policy.parts import PARTS
from forkpolicy.tables.keys import NULL_SENDER, fold_domain, ip_key, ip_text
from forkpolicy.tables.kinds.kind import Subject

_IP_ADDRESSES: Final = ("client_address", "server_address")
_ADDRESSES: Final = ("sender", "recipient")
_DOMAINS: Final = [part.name for part in PARTS.values() if part.subject is Subject.HOST]
_PATTERNS: Final = "; one of kind pair, such as pair:network,address, has patterns"
_NAMES: Final = ("client_name", "reverse_client_name", *_DOMAINS)


def refuse_never_equal(key: str, attributes: tuple[str, ...]) -> None:
    """Raises ValueError where a word of a key is never a value of its attribute."""
    words = key.split(" ")
    for word, attribute in zip(words, attributes, strict=False) if len(words) == len(attributes) else ():
        wrong = _why_never(word, attribute) if word else ""
        if wrong:
            raise ValueError(f"{word} is never equal to {{{attribute}}}: {wrong}")


def _why_never(word: str, attribute: str) -> str:
    if attribute in _IP_ADDRESSES:
        return _why_no_ip_address(word)
    if attribute in _ADDRESSES:
        return _why_no_address(word)
    if attribute in _NAMES and (word.startswith((".", "@")) or "*" in word):
        return f"a key table has whole names alone{_PATTERNS}"
    if attribute in _DOMAINS and fold_domain(word) != word.casefold():
        return f"did you mean {fold_domain(word)}?"
    return ""


def _why_no_ip_address(word: str) -> str:
    key = ip_key(word)
    if key:
        return "" if ip_text(key) == word.lower() else f"did you mean {ip_text(key)}?"
    if ip_key(word.partition("/")[0]):
        return f"a key table has no networks{_PATTERNS}"
    return "" if word == "unknown" else "it is not an IP address"


def _why_no_address(word: str) -> str:
    if word == NULL_SENDER:
        return 'the null sender is empty, a key in quotes with nothing in its place, such as "192.0.2.7 "'
    if word.startswith("<") and word.endswith(">"):
        return f"did you mean {word[1:-1]}?"
    local, at, domain = word.rpartition("@")
    if at and local and domain and "*" not in (local, domain):
        return ""
    # A bare local part may arrive, but no domain does.
    is_local_part = not at and "." not in word and word != "*"
    return "" if is_local_part else f"a key table has whole addresses alone{_PATTERNS}"
