"""Settings, policy and tables as one generation, loaded from files or from a snapshot of them.

The start loads before it forks. A reload loads in a child of the master, to check, and hands the master what it must
know (outlines.py), and the bytes that workers load from. Commands load to check and explain. Tables are named here,
not opened: LMDB is opened after the fork. Raises ConfigError with every mistake of settings and policy.
"""

from __future__ import annotations

import contextlib
import gc
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.files import GLOB_PREFIX, Files, SnapshotFiles
from forkpolicy.policy.load import check_on_error, load_policy
from forkpolicy.policy.model import DEFAULT_ACTION
from forkpolicy.postfix.addresses import Rewriting
from forkpolicy.settings import absolute, load_settings, own_sockets
from forkpolicy.state.live_state import LiveState
from forkpolicy.tables.live_table import LiveTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.policy.policy import Policy
    from forkpolicy.postfix.addresses import Views
    from forkpolicy.settings import MailSettings, Settings
    from forkpolicy.status import PolicySummary

# Of a digest, for people to compare; what must be exact compares the files.
_VERSION_CHARS: Final = 12


class Shadow(NamedTuple):
    """The shadow policy, the tables that it declares, and where it declares them."""

    policy: Policy
    tables: dict[str, LiveTable]
    declarations: dict[str, TableDeclaration]


class Loaded(NamedTuple):
    """One generation. `store` has what the policy remembers; `snapshot` has the bytes of every file that it was made
    from, of which `secrets` are nobody else's business. `stand_ins`: what is used in place of restricted files.
    """

    settings: Settings
    policy: Policy
    tables: dict[str, LiveTable]
    declarations: dict[str, TableDeclaration]
    shadow: Shadow | None
    store: LiveState
    snapshot: dict[str, bytes]
    secrets: frozenset[str]
    warnings: tuple[Diagnostic, ...]
    stand_ins: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Make the plans of the policies that decide: before the first request, and before a fork, to share them."""
        self.policy.prepare()
        if self.shadow:
            self.shadow.policy.prepare()

    @property
    def remembers(self) -> bool:
        """Whether the policy has an ACL or an action that remembers."""
        return self.policy.remembers

    @property
    def zones(self) -> tuple[str, ...]:
        """The DNS lists of the policy, by the names that may be shown."""
        return tuple(dict.fromkeys(zone.name for zone in self.policy.model.zones))

    def policy_version(self) -> str:
        """The beginning of a digest of all that was read but the settings: equal on hosts that decide equally."""
        files = sorted((name, data) for name, data in self.snapshot.items() if name != self.settings.path)
        digest = sha256()
        for name, data in files:
            if not name.startswith(GLOB_PREFIX):
                digest.update(sha256(data).digest())
        return digest.hexdigest()[:_VERSION_CHARS]

    @property
    def table_paths(self) -> tuple[str, ...]:
        """Where the compiled tables of the policy are."""
        return tuple(table.path for table in self.tables.values())

    @property
    def all_tables(self) -> list[LiveTable]:
        """The tables of the policy, and of the shadow if there is one; each once."""
        shadow = self.shadow.tables if self.shadow else {}
        return list(dict.fromkeys((*self.tables.values(), *shadow.values())))

    @property
    def line_texts(self) -> tuple[str, ...]:
        """Every rule with its place, then the end of the policy and failures: hits are counted by these."""
        rules = (f"{rule.where}: {rule.text}" for rule in self.policy.model.rules)
        return (*rules, "default: no rule fired", "on_error: an evaluation failed")

    @property
    def summary(self) -> PolicySummary:
        """What the log's lines of the start and the reload have about it."""
        from forkpolicy.status import PolicySummary  # noqa: PLC0415 - commands without a master need no status

        model = self.policy.model
        wanted = self.settings.shadow
        return PolicySummary(
            policy=self.settings.policy,
            shadow=(wanted if self.shadow else f"{wanted} is left out: it failed to load") if wanted else None,
            lines=len(model.rules),
            acls=len(model.acls),
            tables=",".join(self.tables) or "-",
            warnings=len(self.warnings),
            version=self.policy_version(),
            settings_version=sha256(self.snapshot[self.settings.path]).hexdigest()[:_VERSION_CHARS],
            restricted="; ".join(self.stand_ins) or None,
        )


def load_everything(
    settings_path: str | Path,
    snapshot: Mapping[str, bytes] | None = None,
    tables: Mapping[str, LiveTable] | None = None,
    store: LiveState | None = None,
    *,
    files: Files | None = None,
) -> Loaded:
    """Load one generation. `tables` of the previous generation are used again where they are the same, and its `store`
    in any case: a server uses the maps of its start.
    """
    files = files or (Files() if snapshot is None else SnapshotFiles(snapshot))
    path = absolute(settings_path)
    with uncollected():
        return load_with(load_settings(path, files), files, tables or {}, store)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector. What loading makes stays; looking at all of it again and again while it grows
    was half of the time that a policy of 40,000 lines took.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def load_with(
    settings: Settings,
    files: Files,
    before: Mapping[str, LiveTable],
    store: LiveState | None = None,
    in_front: str = "",
    *,
    restricts_front: bool = False,
) -> Loaded:
    """Load the policy that `settings` names, and the shadow if there is one. `before`: tables that are open already;
    `store`: as `load_everything` takes it; `in_front`: a file of statements in front of the policy's first rule,
    with `restricts_front` as those of a restricted file.
    """
    store = store or LiveState.of(settings.state)
    settings = replace(settings, state=store.in_force(settings.state))
    check_on_error(settings.server.on_error, settings.path)
    tables = _LiveTables(settings, before)
    # The shadow first: the real policy also reads the attributes that the shadow reads.
    shadow, warnings = _load_shadow(settings, files, tables)
    declarations = tables.begin()
    policy, own_warnings = load_policy(
        settings.policy,
        tables.table_for,
        files=files,
        delimiter=settings.mail.recipient_delimiter,
        views=views_of(settings.mail),
        on_error=settings.server.on_error,
        also_wanted=shadow.policy.wanted if shadow else (),
        store=store,
        skips_failures=settings.state.fail == "skip",
        own_sockets=own_sockets(settings),
        in_front=in_front,
        restricts_front=restricts_front,
    )
    return Loaded(
        settings,
        policy,
        tables.made,
        declarations,
        shadow,
        store,
        files.snapshot,
        frozenset(files.secrets),
        (*own_warnings, *_no_rule(policy), *warnings),
    )


def _no_rule(policy: Policy) -> Iterator[Diagnostic]:
    """A policy without a rule, such as an editor leaves when the disk is full."""
    if not policy.model.rules:
        message = f"has no access rule: every request gets the action {DEFAULT_ACTION}"
        yield Diagnostic(policy.paths[0], 0, 0, message, severity="warning")


def _load_shadow(settings: Settings, files: Files, tables: _LiveTables) -> tuple[Shadow | None, list[Diagnostic]]:
    """The shadow policy. One that fails to load is reported and left out."""
    if not settings.shadow:
        return None, []
    declarations = tables.begin()
    try:
        policy, _ = load_policy(
            settings.shadow,
            tables.table_for,
            files=files,
            delimiter=settings.mail.recipient_delimiter,
            views=views_of(settings.mail),
            skips_failures=settings.state.fail == "skip",
            own_sockets=own_sockets(settings),
        )
    except ConfigError as error:
        left_out = Diagnostic(settings.shadow, 0, 0, "the shadow policy is left out: it failed to load")
        return None, [replace(each, severity="warning") for each in (*error.diagnostics, left_out)]
    return Shadow(policy, tables.made, declarations), []


def views_of(mail: MailSettings) -> Views:
    """How policies see addresses, by the settings of `[mail]`."""
    if mail.rewriting == "none":
        return {}
    return Rewriting(
        myorigin=mail.myorigin,
        mydomain=mail.mydomain.removeprefix("-"),
        local_domains=mail.local_domains,
        local_addresses=mail.local_addresses,
    ).views


class _LiveTables:
    """Makes the live tables that policies declare; those of the same name and kind are one."""

    def __init__(self, settings: Settings, before: Mapping[str, LiveTable]) -> None:
        self._settings = settings
        self._known = dict(before)
        self.made: dict[str, LiveTable] = {}
        self._declarations: dict[str, TableDeclaration] = {}

    def begin(self) -> dict[str, TableDeclaration]:
        """Another policy; the dict that its declarations will stand in."""
        self._known.update(self.made)
        self.made, self._declarations = {}, {}
        return self._declarations

    def table_for(self, declaration: TableDeclaration) -> LiveTable:
        """The live table of a declaration."""
        name = declaration.name
        delimiter = self._settings.mail.recipient_delimiter
        self._declarations[name] = declaration
        self.made[name] = _live_table(declaration, self._settings.tables, delimiter, self._known)
        return self.made[name]


def table_path(tables: str, name: str) -> str:
    """Where the compiled table of that name is."""
    return str(Path(tables) / f"{name}.lmdb")


def _live_table(
    declaration: TableDeclaration, tables: str, delimiter: str, before: Mapping[str, LiveTable]
) -> LiveTable:
    path = table_path(tables, declaration.name)
    known = before.get(declaration.name)
    if known and (known.kind, known.path, known.delimiter) == (declaration.kind, path, delimiter):
        return known
    # The parser lets no other kind through.
    return LiveTable(declaration.name, declaration.kind, path, delimiter)
