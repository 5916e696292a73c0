"""The syntax of Postfix's lists: how a value is split into members, and which members are maps. Raises nothing."""

from __future__ import annotations

from forkpolicy.tables.keys import ip_key


def split_list(value: str) -> list[str]:
    """The members of a list: separated by commas and blanks, with `{ ... }` kept as one."""
    words, word, depth = [], "", 0
    for char in value:
        depth += (char == "{") - (char == "}")
        if depth <= 0 and (char.isspace() or char == ","):
            if word:
                words.append(word)
            word = ""
        else:
            word += char
    return [*words, word] if word else words


def is_map(word: str) -> bool:
    """Whether a member is `type:name`; `dead:beef::` is an address."""
    kind, colon, _ = word.partition(":")
    return bool(colon) and kind.isalpha() and ip_key(word.partition("/")[0]) is None
