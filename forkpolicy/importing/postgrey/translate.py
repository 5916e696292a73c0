"""postgrey's lists and options as a policy: rules that spare the lists, then greylisting.

A file that sets POSTGREY_OPTS has the options, one with `recipients` in its name is a list of recipients, any other a
list of clients. Without lists, those are read that the options name, or /etc/postgrey has. Raises ConfigError for files
that cannot be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from forkpolicy.durations import show_duration
from forkpolicy.importing.left_out import Origin
from forkpolicy.importing.postgrey import lists
from forkpolicy.importing.postgrey.options import DIRECTORY, Options, is_of_options, read_options
from forkpolicy.importing.source import read_source
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.formats import Inputs
    from forkpolicy.importing.source import SourceFile

_Found = TypeVar("_Found")
# A compile refuses wider networks in a table without --allow-wide; in an ACL they need nothing.
_WIDE: Final = {4: 8, 6: 16}
_SPARED: Final = "DUNNO"


@dataclass
class Given:
    """The files by what they are."""

    options: str = ""
    clients: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)


def read(inputs: Inputs, draft: Draft) -> None:
    """Read and translate everything."""
    given, options = read_given(inputs, draft)
    origin = Origin(given.options or (given.clients + given.recipients)[0])
    for path in given.clients:
        source = read_source(path, inputs.files)
        for found in _clients(source, draft):
            draft.access([found], draft.action("spare", _SPARED), Origin(path))
    for path in given.recipients:
        source = read_source(path, inputs.files)
        for found in _recipients(source, draft):
            draft.access([found], draft.action("spare", _SPARED), Origin(path))
    _greylisting(options, origin, draft)


def read_given(inputs: Inputs, draft: Draft) -> tuple[Given, Options]:
    """The lists that are meant, and the options. Raises ConfigError."""
    given, options = Given(), Options()
    for path in inputs.paths:
        source = read_source(path, inputs.files)
        if is_of_options(source):
            given.options, options = path, read_options(source, draft)
        elif "recipients" in Path(path).name.lower():
            given.recipients.append(path)
        else:
            given.clients.append(path)
    if not given.clients and not given.recipients:
        given.clients = options.clients or _there("whitelist_clients")
        given.recipients = options.recipients or _there("whitelist_recipients")
    return given, options


def _there(name: str) -> list[str]:
    """What it reads where no option names others; the local one need not be there."""
    path = f"{DIRECTORY}/{name}"
    local = f"{path}.local"
    return [path, *([local] if Path(local).exists() else [])]


def _clients(source: SourceFile, draft: Draft) -> list[str]:
    """The ACLs of a list of clients."""
    names: list[TableEntry] = []
    networks: list[TableEntry] = []
    wide: list[str] = []
    expressions: list[str] = []
    for line, found in _understood(source, lists.client, draft):
        match found:
            case lists.Name(name):
                names += _with_everything_below(name, line.origin)
            case lists.Networks(several):
                for network in several:
                    if network.prefixlen < _WIDE[network.version]:
                        wide.append(str(network))
                    else:
                        networks.append(TableEntry(str(network), None, line.origin))
            case lists.Expression(value):
                expressions.append(value)
    origin = Origin(source.path)
    acls = []
    if names:
        table = draft.table("spared_names", "domain", _once(names), origin)
        acls.append(draft.acl("spared_name", "client_name", [f"table:{table}"]))
    if expressions:
        acls.append(draft.acl("spared_like", "client_name", _unique(expressions)))
    if networks:
        table = draft.table("spared_networks", "cidr", _once(networks), origin)
        acls.append(draft.acl("spared_network", "client_address", [f"table:{table}"]))
    if wide:
        acls.append(draft.acl("spared_wide", "client_address", _unique(wide)))
    return acls


def _recipients(source: SourceFile, draft: Draft) -> list[str]:
    """The ACLs of a list of recipients."""
    names: list[TableEntry] = []
    expressions: list[str] = []
    for line, found in _understood(source, lists.recipient, draft):
        if isinstance(found, lists.Name):
            names += _with_everything_below(found.name, line.origin)
        elif isinstance(found, lists.Expression):
            expressions.append(found.value)
    acls = []
    if names:
        table = draft.table("spared_domains", "domain", _once(names), Origin(source.path))
        acls.append(draft.acl("spared_domain", "recipient", [f"table:{table}"]))
    if expressions:
        acls.append(draft.acl("spared_recipient", "recipient", _unique(expressions)))
    return acls


def _understood(
    source: SourceFile, understand: Callable[[str], _Found], draft: Draft
) -> Iterator[tuple[lists.Line, _Found]]:
    for line in lists.lines_of(source):
        try:
            yield line, understand(line.text)
        except lists.CannotError as error:
            draft.leave_out(line.origin, line.text, error.reason, error.nearest)


def _with_everything_below(name: str, origin: Origin) -> list[TableEntry]:
    return [TableEntry(name, None, origin), TableEntry(f".{name}", None, origin)]


def _once(entries: list[TableEntry]) -> list[TableEntry]:
    """A compile refuses no entry twice, but nobody wants to read it twice."""
    return list({entry.key: entry for entry in reversed(entries)}.values())[::-1]


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _greylisting(options: Options, origin: Origin, draft: Draft) -> None:
    """The rule that greylists."""
    if options.delay_s >= options.window_s:
        draft.leave_out(origin, "greylisting", "the retry window is not longer than the delay: nobody ever passes")
        return
    values = [
        f"delay={show_duration(options.delay_s)}",
        f"window={show_duration(options.window_s)}",
        f"keep={show_duration(options.keep_s)}",
        f"auto={options.auto}",
        f"mask=/{options.v4_bits},/{options.v6_bits}",
    ]
    acl = draft.acl("greylisted", "greylisting", values)
    try:
        action = draft.action("later", _reply(options, acl), is_template=True)
    except ValueError as error:
        draft.leave_out(origin, f"--greylist-action={options.action}", str(error), "an action of access(5)")
        return
    draft.access([acl], action, origin)
    draft.note(origin, "mail that has waited gets no header X-Greylist")
    draft.note(origin, "its database is not read: who passed there waits once more, unless both run for a while")
    if options.auto:
        draft.note(
            origin,
            "auto-whitelist-clients counts here by network "
            f"(/{options.v4_bits}, /{options.v6_bits}) and hours of the clock, there by address and hours between",
        )


def _reply(options: Options, acl: str) -> str:
    """The reply as a template; Postfix since 2.3 gets 4.2.0 in front of a text that has no code."""
    text = options.text.replace("{", "{{").replace("}", "}}")
    if not text[:1].isdigit():
        text = f"4.2.0 {text}"
    text = text.replace("%s", f"{{match.{acl}}}", 1).replace("%r", "{recipient_domain}", 1)
    return f"{options.action} {text}"
