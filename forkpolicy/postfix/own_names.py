"""The names and addresses that a Postfix completes addresses with and takes for its own, as `[mail]` has them.

Facts only, from its expanded parameters; reads the file that `myorigin` names, and /proc for this machine's addresses.
Raises nothing: what cannot be read is unknown, and empty.
"""

from __future__ import annotations

import re
from pathlib import Path
from socket import AF_INET6, inet_ntop
from typing import TYPE_CHECKING

from forkpolicy.postfix.lists import is_map, split_list
from forkpolicy.tables.keys import domain_names, ip_key

if TYPE_CHECKING:
    from collections.abc import Mapping


def origin(parameters: Mapping[str, str]) -> str:
    """The value of myorigin, or of the file that it names."""
    value = parameters["myorigin"]
    if not value.startswith("/"):
        return value
    try:
        lines = Path(value).read_text(errors="replace").split()
    except OSError:
        return ""
    return lines[0] if lines else ""


def appended_domain(parameters: Mapping[str, str]) -> str:
    """What is appended to a domain without a dot; `-`: nothing."""
    return parameters["mydomain"] if parameters["append_dot_mydomain"] == "yes" else "-"


def local_names(parameters: Mapping[str, str]) -> list[str]:
    """The names that stand in mydestination themselves, each with its second form."""
    names = [word for word in split_list(parameters["mydestination"]) if is_name(word)]
    return list(dict.fromkeys(each for name in names for each in (name, second_form(parameters, name)) if each))


def second_form(parameters: Mapping[str, str], domain: str) -> str:
    """The second name of a domain of Postfix's own, strasse.example of straße.example, which is another domain in IDNA
    2008: with smtputf8_enable it folds case as Unicode has it, and takes mail to either for its own. Empty: none.
    """
    names = domain_names(domain)
    return names[1] if len(names) > 1 and parameters.get("smtputf8_enable") == "yes" else ""


def is_name(word: str) -> bool:
    """Whether a member of a list stands for itself, and is not a file, an exclusion or a map."""
    return word[0] not in "/!" and not is_map(word)


def own_addresses(parameters: Mapping[str, str]) -> list[str]:
    """The addresses that Postfix treats as its own in literals, except 127.0.0.0/8 and ::1."""
    words = [*split_list(parameters["inet_interfaces"]), *split_list(parameters["proxy_interfaces"])]
    if "all" in words:
        words += [*_addresses_v4(), *_addresses_v6()]
    families = parameters["inet_protocols"]
    plain = [word.strip("[]") for word in words if ip_key(word)]
    fitting = [each for each in plain if families in ("all", "") or ("ipv6" if ":" in each else "ipv4") in families]
    return sorted({each for each in fitting if each != "::1" and not each.startswith("127.")})


def _addresses_v4() -> list[str]:
    """From the kernel's table of routes: every address of this machine is a host route of kind LOCAL."""
    return re.findall(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL", _proc("/proc/net/fib_trie"))


def _addresses_v6() -> list[str]:
    """From if_inet6: address, interface, prefix length, scope (00: global) ..."""
    rows = [line.split() for line in _proc("/proc/net/if_inet6").splitlines()]
    return [inet_ntop(AF_INET6, bytes.fromhex(row[0])) for row in rows if row[3] == "00"]


def _proc(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
