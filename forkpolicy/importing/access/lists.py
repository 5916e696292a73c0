"""The restriction lists of smtpd(8) as restrictions with their places. Pure; mistakes go to the draft.

A list is read as Postfix does: words between commas and blanks, `{ ... }` one word, names in any case, and a map
alone stands for the check of its list (`smtpd_sender_restrictions = hash:/etc/postfix/access`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.access.logical_lines import one_line
from forkpolicy.importing.access.macros import names_alone
from forkpolicy.postfix.lists import split_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.importing.access.main_cf import MainCf, Parameter
    from forkpolicy.importing.left_out import Origin

# The lists that smtpd(8) evaluates, and what a map alone in one is asked about.
LISTS: Final = {
    "smtpd_client_restrictions": "check_client_access",
    "smtpd_helo_restrictions": "check_helo_access",
    "smtpd_sender_restrictions": "check_sender_access",
    "smtpd_relay_restrictions": "check_recipient_access",
    "smtpd_recipient_restrictions": "check_recipient_access",
    "smtpd_data_restrictions": "",
    "smtpd_end_of_data_restrictions": "",
    "smtpd_etrn_restrictions": "",
}
_TAKES_ARGUMENT: Final = ("check_", "reject_rbl", "reject_rhsbl", "permit_dnswl", "permit_rhswl", "sleep")
WARN: Final = "warn_if_reject"
MAX_DEPTH: Final = 20


class Restriction(NamedTuple):
    """One restriction of a list. `argument` has the values of parameters; `written` is the whole as in main.cf, without
    a `warn_if_reject` in front, which `warns` has.
    """

    name: str
    argument: str
    written: str
    warns: bool
    origin: Origin


class _Word(NamedTuple):
    written: str
    text: str
    origin: Origin


def restrictions_of(main: MainCf, parameter: Parameter) -> list[Restriction]:
    """The restrictions of a list, or of a class. Raises ValueError for a value that cannot be expanded."""
    words = list(_words(main, parameter, 0))
    alone = LISTS.get(parameter.name, "")
    found: list[Restriction] = []
    warns = False
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        name = word.text.lower()
        if name == WARN:
            warns = True
            continue
        if name.startswith(_TAKES_ARGUMENT) and at < len(words):
            written = f"{word.written} {words[at].written}"
            found.append(Restriction(name, words[at].text, written, warns, word.origin))
            at += 1
        elif alone and ":" in word.text and not name.startswith("{"):
            found.append(Restriction(alone, word.text, f"{alone} {word.written}", warns, word.origin))
        else:
            found.append(Restriction(name, "", word.written, warns, word.origin))
        warns = False
    return found


def words_of_class(text: str, origin: Origin) -> list[Restriction]:
    """The restrictions that the value of a map names, each without an argument."""
    return [Restriction(word.lower(), "", word, warns=False, origin=origin) for word in split_list(text)]


def _words(main: MainCf, parameter: Parameter, depth: int) -> Iterator[_Word]:
    """The words, with those of a list that `$name` brings at their own places."""
    if depth > MAX_DEPTH:
        raise ValueError("parameters refer to each other without end")
    position = parameter.begin
    for written in split_list(parameter.value):
        position = parameter.line.text.find(written, position)
        origin = parameter.line.origin_at(position)
        position += len(written)
        name = names_alone(written)
        if name in main.parameters:
            yield from _words(main, main.parameters[name], depth + 1)
            continue
        expanded = split_list(main.expanded(written))
        if len(expanded) == 1:
            yield _Word(one_line(written), one_line(expanded[0]), origin)
        else:
            yield from (_Word(one_line(each), one_line(each), origin) for each in expanded)
