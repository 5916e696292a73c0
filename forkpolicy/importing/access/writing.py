"""Steps as rules of a draft. ValueError of the draft is for the caller: the step then stays where it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.importing.access.results import Does
from forkpolicy.importing.access.steps import Acl, CaseLookup, MapLookup, NetworkLookup, Verdict
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from forkpolicy.importing.access.results import Result
    from forkpolicy.importing.access.steps import Case, Outcome, Source, Step, Table
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin

# Postfix takes no OK of a map for a recipient with a route in it (allow_untrusted_routing = no).
ROUTED: Final = Acl("routed", "recipient", (r"/[@!%].*@/",))


@dataclass
class Writer:
    """`permits_routed`: allow_untrusted_routing = yes."""

    draft: Draft
    permits_routed: bool = False
    _tables: dict[tuple[str, Source], str] = field(default_factory=dict)

    def step(self, step: Step, terms: tuple[str, ...], *, routed: bool = False) -> None:
        """The rules of one step, for requests that meet these terms. `routed`: below a map about recipients."""
        if isinstance(step, Verdict):
            self._reply(terms, step.result, step.origin, routed=routed)
        elif isinstance(step, CaseLookup):
            self._cases(step.cases, terms, routed=routed)
        elif isinstance(step, MapLookup):
            names = self._declared(step.word, step.name, step.tables, step.origin)
            self._tables_in_turn(step, names, terms, routed=routed)
        else:
            self._networks(step, terms, routed=routed)

    def acl(self, acl: Acl) -> str:
        """An ACL, declared; its name."""
        return self.draft.acl(acl.name, acl.type_name, acl.values)

    def _tables_in_turn(self, step: MapLookup, names: Sequence[str], terms: tuple[str, ...], *, routed: bool) -> None:
        before: tuple[str, ...] = ()
        for table, name in zip(step.tables, names, strict=True):
            attribute = table.source.attribute
            guards = (self.acl(table.source.guard),) if table.source.guard else ()
            own = routed or attribute == "recipient"
            self._outcomes(name, table, step.outcomes, (*terms, *guards, *before), routed=own)
            before = (*before, f"!{self.draft.acl(name, attribute, [f'table:{name}'])}")

    def _outcomes(
        self,
        name: str,
        table: Table,
        outcomes: Mapping[str, Outcome],
        terms: tuple[str, ...],
        *,
        routed: bool,
    ) -> None:
        for word, origin in table.firsts().items():
            outcome = outcomes[word]
            if outcome.result.does is Does.NOTHING:
                continue
            acl = self.draft.acl(f"{name}-{word}", table.source.attribute, [f"table:{name}={word}"])
            inner = (*terms, acl)
            if word in table.texts:
                self._texts(f"{name}-{word}", table, word, inner)
                continue
            if outcome.result.does is not Does.CLASSES:
                self._reply(inner, outcome.result, origin, routed=routed)
            for step in outcome.steps:
                self.step(step, inner, routed=routed)

    def _texts(self, name: str, table: Table, word: str, terms: tuple[str, ...]) -> None:
        """One rule for replies that differ in their text alone: it is the value of a second table."""
        lines = table.texts[word]
        origin = next(line.origin for line in lines if isinstance(line, TableEntry) and line.origin)
        texts = self.draft.table(name, table.source.kind, lines, origin)
        acl = self.draft.acl(f"{texts}-found", table.source.attribute, [f"table:{texts}"])
        verb = word.removesuffix("-text").upper()
        self.draft.access((*terms, acl), self.draft.action(texts, f"{verb} {{match.{acl}}}", is_template=True), origin)

    def _networks(self, step: NetworkLookup, terms: tuple[str, ...], *, routed: bool) -> None:
        attribute = step.table.source.attribute
        after = terms
        if step.table.lines:
            (name,) = self._declared(step.word, step.name, (step.table,), step.origin)
            self._outcomes(name, step.table, step.outcomes, terms, routed=routed)
            if step.wide:
                after = (*terms, f"!{self.draft.acl(name, attribute, [f'table:{name}'])}")
        self._cases(step.wide, after, routed=routed)

    def _cases(self, cases: Sequence[Case], terms: tuple[str, ...], *, routed: bool) -> None:
        for case in cases:
            for comment in case.comments:
                self.draft.comment(comment)
            own = tuple(f"{'' if holds else '!'}{self.acl(acl)}" for acl, holds in case.terms)
            asks_recipient = any(acl.type_name == "recipient" for acl, _ in case.terms)
            every = tuple(dict.fromkeys((*terms, *own)))
            self._reply(every, case.result, case.origin, routed=routed or asks_recipient)

    def _reply(self, terms: tuple[str, ...], result: Result, origin: Origin, *, routed: bool) -> None:
        if result.permits and routed and not self.permits_routed:
            terms = (*terms, f"!{self.acl(ROUTED)}")
        self.draft.access(terms, self.draft.action(_action_name(result.reply), result.reply), origin)

    def _declared(self, word: str, name: str, tables: Iterable[Table], origin: Origin) -> list[str]:
        """The tables of a map, each written once however often it is asked; their names."""
        names = []
        for table in tables:
            key = word, table.source
            if key not in self._tables:
                self._tables[key] = self.draft.table(name, table.source.kind, table.lines, origin)
            names.append(self._tables[key])
        return names


def _action_name(reply: str) -> str:
    """The name of an action by its first word: `reject`; an ACL may have it, then a number follows."""
    return reply.partition(" ")[0].lower()
