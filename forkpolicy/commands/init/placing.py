"""Where `check_policy_service` goes: into which list of which Postfix, behind which word, as commands of postconf(1).

Only services with clients outside ask, in `smtpd_recipient_restrictions`, where sender and recipient are known. What
stands in the list stays, word for word: the call goes behind `reject_unauth_destination`, so that no reply can open a
relay, or behind the words that permit clients whom the rule does not concern. Pure.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.init.services import LIST, TRUSTING, Role
from forkpolicy.postfix.lists import split_list
from forkpolicy.postfix.restrictions import AT_RCPT, CLOSING, find_call_sites

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkpolicy.commands.init.services import Service
    from forkpolicy.postfix.parameters import Postfix, Smtpd

# "postconf: fatal: -Pe does not accept whitespace in parameter value" (3.7.11,
# findings/postconf-writes-no-blanks-into-master-cf.sh): such a list gets a parameter of its own in main.cf.
OWN_PARAMETER: Final = "forkpolicy_restrictions"
_FULL: Final = ("reject_non_fqdn_sender", "reject_non_fqdn_recipient")
_FIRST: Final = ("permit_mynetworks", "permit_sasl_authenticated")
_ENDING: Final = frozenset({"permit", "reject", "defer"})
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|\((\w+)\)|(\w+))")


@dataclass(frozen=True, slots=True)
class Change:
    """One command of postconf(1) that changes main.cf (`-e`) or master.cf (`-P`)."""

    option: str
    assignment: str

    @property
    def file(self) -> str:
        """The file that it changes."""
        return "main.cf" if self.option == "-e" else "master.cf"

    def command(self, where: str) -> str:
        """For a shell; `where`: ` -c DIR`, or nothing."""
        return f"postconf{where} {self.option} {shlex.quote(self.assignment)}"


def call_of(socket: str) -> str:
    """The restriction that asks a socket below the queue directory."""
    text = "451 4.7.1 Policy service unavailable, please try again later"
    return f"check_policy_service {{ {socket}, timeout=10s, {{ default_action = {text} }} }}"


def changes_for(postfix: Postfix, services: Sequence[Service], raw: Mapping[str, str], socket: str) -> list[Change]:
    """What makes each service ask that has clients outside and does not yet. `raw`: the lists as they are written,
    by parameter for main.cf and by SERVICE/PARAMETER for master.cf.
    """
    asking = {name for site in find_call_sites(postfix) if site.endpoint == socket for name in site.services}
    silent = [each for each in services if each.role is Role.OUTSIDE and each.name not in asking]
    changes = []
    for number, service in enumerate([each for each in silent if each.own_list], 1):
        parameter = OWN_PARAMETER if number == 1 else f"{OWN_PARAMETER}_{number}"
        text = with_call(raw[f"{service.name}/{LIST}"], service.smtpd, socket)
        changes += [Change("-e", f"{parameter} = {text}"), Change("-P", f"{service.name}/{LIST}=${parameter}")]
    shared = next((each for each in silent if not each.own_list), None)
    if shared:
        changes.append(Change("-e", f"{LIST} = {with_call(raw[LIST], shared.smtpd, socket)}"))
    return changes


def with_call(raw: str, smtpd: Smtpd, socket: str) -> str:
    """A list with the call in it."""

    def expanded(word: str) -> list[str]:
        return [each.lower() for each in split_list(_VARIABLE.sub(lambda found: _value(smtpd, found), word))]

    words = _words(raw)
    at = _behind([expanded(word) for word, _ in words])
    begin = raw[: words[at - 1][1]] if at else ""
    before = [each for word in split_list(begin) for each in expanded(word)]
    earlier = {word.lower() for name in AT_RCPT[:-1] for word in split_list(smtpd.values.get(name, ""))}
    # In front of `permit_mynetworks` they would refuse what programs of our own send as <root>.
    missing = [word for word in _FULL if word not in {*before, *earlier}]
    added = [*(() if words else (*_FIRST, *missing)), *(missing if "permit_mynetworks" in before else ())]
    parts = (begin, *added, call_of(socket), raw[len(begin) :])
    return ", ".join(text for part in parts if (text := part.strip(" ,\t")))


def _value(smtpd: Smtpd, found: re.Match[str]) -> str:
    return smtpd.values.get(found[1] or found[2] or found[3], "")


def _words(raw: str) -> list[tuple[str, int]]:
    """The words of a list, each with where it ends."""
    words, at = [], 0
    for word in split_list(raw):
        at = raw.index(word, at) + len(word)
        words.append((word, at))
    return words


def _behind(meanings: Sequence[list[str]]) -> int:
    """How many words stand in front of the call, of words with these meanings."""
    closing = next((at for at, each in enumerate(meanings) if not (CLOSING - _ENDING).isdisjoint(each)), None)
    ending = next((at for at, each in enumerate(meanings) if not _ENDING.isdisjoint(each)), len(meanings))
    if closing is not None and closing < ending:
        return closing + 1
    return next((at for at, each in enumerate(meanings) if not (each and set(each) <= TRUSTING)), len(meanings))


def raw_lists(main: str, master: str) -> Iterator[tuple[str, str]]:
    """The lists as postconf(1) writes them without `-x`: `main` has `NAME = VALUE`, `master` is what -P lists."""
    for line in (*main.splitlines(), *master.splitlines()):
        name, equals, value = line.partition("=")
        if equals:
            yield name.strip(), value.strip()
