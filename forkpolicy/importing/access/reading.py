"""Restrictions as steps of a policy. Raises UncarriedError, with the reason, for one that stays in main.cf.

A map whose results name restriction classes is carried with what those do, where all of that can be carried.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from forkpolicy.importing.access.cases import Ordered, expression_cases
from forkpolicy.importing.access.keys import KeyRules
from forkpolicy.importing.access.lists import restrictions_of, words_of_class
from forkpolicy.importing.access.map_files import INDEXED, UncarriedError, entries_of, members, read_map, static_result
from forkpolicy.importing.access.network_steps import network_lookup
from forkpolicy.importing.access.pattern_lines import rules_of
from forkpolicy.importing.access.results import Does, Result, parse_result
from forkpolicy.importing.access.steps import Acl, Case, CaseLookup, MapLookup, Outcome, Verdict, sequence_ends_run
from forkpolicy.importing.access.table_lines import Asked, tables_of
from forkpolicy.importing.access.words import words_for

if TYPE_CHECKING:
    from forkpolicy.files import Files
    from forkpolicy.importing.access.lists import Restriction
    from forkpolicy.importing.access.main_cf import MainCf
    from forkpolicy.importing.access.map_files import MapFile
    from forkpolicy.importing.access.steps import Step
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin

# What is asked about; of clients, the name and then the address.
ASKS: Final = {
    "check_client_access": "client_name",
    "check_reverse_client_hostname_access": "reverse_client_name",
    "check_helo_access": "helo_name",
    "check_sender_access": "sender",
    "check_recipient_access": "recipient",
    "check_sasl_access": "sasl_username",
}
# What holds for each request that has the attribute at all.
ANYTHING: Final = {name: ("/./" if name in ("helo_name", "sasl_username") else "/^/") for name in ASKS.values()}
_MAX_DEPTH: Final = 10


@dataclass
class Reader:
    """Reads the maps of one main.cf; each file once."""

    main: MainCf
    files: Files
    draft: Draft
    stays: set[str] = field(default_factory=set)
    _steps: dict[tuple[str, str], Step] = field(default_factory=dict)
    _depth: int = 0

    def __post_init__(self) -> None:
        """What the parameters say of look-ups."""
        parents = members(self.main.value("parent_domain_matches_subdomains"))
        self.rules = KeyRules("smtpd_access_maps" in parents, self.main.value("smtpd_null_access_lookup_key"))
        self.classes = frozenset(members(self.main.value("smtpd_restriction_classes")))

    def step(self, restriction: Restriction) -> Step:
        """What a restriction does. Raises UncarriedError."""
        if restriction.name not in ASKS:
            raise UncarriedError("")
        key = restriction.name, restriction.argument
        if key not in self._steps:
            if not restriction.argument:
                raise UncarriedError("it has no map")
            self._steps[key] = self._lookup(restriction)
        return self._steps[key]

    def _lookup(self, restriction: Restriction) -> Step:
        attribute, origin = ASKS[restriction.name], restriction.origin
        map_file = read_map(restriction.argument, self.main, self.files, origin)
        name = map_name(map_file, restriction.name)
        if map_file.kind == "static":
            return self._static(static_result(map_file), attribute, name, origin)
        if map_file.kind in INDEXED:
            return self._indexed(map_file, attribute, name, origin)
        if map_file.kind == "cidr":
            return network_lookup(rules_of(map_file), map_file.word, name, attribute, self._result, self.draft, origin)
        ordered = Ordered(map_file.kind, attribute, ANYTHING[attribute], name)
        return CaseLookup(name, expression_cases(ordered, rules_of(map_file), self._result))

    def _static(self, text: str, attribute: str, name: str, origin: Origin) -> Step:
        result = self._result(text, origin)
        anything = Acl(f"any_{attribute}", attribute, (ANYTHING[attribute],))
        cases = [] if result.does is Does.NOTHING else [Case(((anything, True),), result, origin)]
        return CaseLookup(name, cases)

    def _indexed(self, map_file: MapFile, attribute: str, name: str, origin: Origin) -> Step:
        entries, notes = entries_of(map_file)
        for note in notes:
            self.draft.note(origin, f"{map_file.word}: {note}")
        outcomes: dict[str, Outcome] = {}
        for entry in entries:
            if entry.result not in outcomes:
                outcomes[entry.result] = self._outcome(entry.result, entry.origin)
        words = words_for(outcomes)
        tables = tables_of(Asked(map_file.word, attribute, origin), entries, words, self.rules, self.draft)
        return MapLookup(map_file.word, name, tables, words.outcomes, origin)

    def _result(self, text: str, origin: Origin) -> Result:
        """A result that names no class: patterns whose class does nothing would have to go on behind the map."""
        try:
            result = parse_result(text, self.classes)
        except ValueError as error:
            raise UncarriedError(f"{origin}: {error}") from error
        if result.does is Does.CLASSES:
            raise UncarriedError(f"{origin}: a restriction class as the result of a map with patterns")
        if result.ignored:
            self.draft.note(origin, result.ignored)
        return result

    def _outcome(self, text: str, origin: Origin) -> Outcome:
        try:
            result = parse_result(text, self.classes)
        except ValueError as error:
            raise UncarriedError(f"{origin}: {error}") from error
        if result.ignored:
            self.draft.note(origin, result.ignored)
        if result.does is not Does.CLASSES:
            return Outcome(result)
        return Outcome(result, tuple(self._class_steps(words_of_class(text, origin))))

    def _class_steps(self, restrictions: list[Restriction]) -> list[Step]:
        """What classes do, in order. Raises UncarriedError where not all of it can be carried."""
        self._depth += 1
        try:
            steps = [step for each in restrictions for step in self._class_step(each)]
            sequence_ends_run(steps)
        except ValueError as error:
            raise UncarriedError(str(error)) from error
        finally:
            self._depth -= 1
        return steps

    def _class_step(self, restriction: Restriction) -> list[Step]:
        if self._depth > _MAX_DEPTH:
            raise UncarriedError("restriction classes refer to each other without end")
        if restriction.warns:
            raise UncarriedError(f"{restriction.origin}: warn_if_reject in a class")
        if restriction.written in self.classes:
            parameter = self.main.parameters.get(restriction.written)
            if parameter is None:
                raise UncarriedError(f"{restriction.origin}: {restriction.written} is not set in this file")
            return self._class_steps(restrictions_of(self.main, parameter))
        if restriction.name in ASKS:
            return [self.step(restriction)]
        if restriction.name in ("reject", "permit", "defer"):
            return [Verdict(self._verdict(restriction.name), restriction.origin)]
        raise UncarriedError(f"{restriction.origin}: {restriction.written} in a restriction class is Postfix's to know")

    def _verdict(self, name: str) -> Result:
        if name == "permit":
            return Result(Does.ENDS, "OK", permits=True)
        # The restriction has a code of its own; the action, another one.
        code = self.main.value(f"{name}_code")
        plain = code == self.main.value(f"access_map_{name}_code")
        return Result(Does.ENDS, name.upper() if plain else f"{code} Access denied")


def map_name(map_file: MapFile, check: str) -> str:
    """What a table is called: the name of its file, or what it is asked about."""
    if map_file.name.startswith("{") or map_file.kind in ("inline", "static"):
        return check.removeprefix("check_").removesuffix("_access")
    return PurePath(map_file.name).name
