"""Stand-ins that keep the product's own contracts: tables that are dicts, files that are texts."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

from forkpolicy.errors import ConfigError, TableError
from forkpolicy.files import Files
from forkpolicy.policy.evaluate import Answer
from forkpolicy.policy.load import load_policy
from forkpolicy.policy.plan.index import COSTS_US
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from forkpolicy.tables import keys
from tests.scanning import scanned

# An index for whatever can have one, and for nothing.
ALWAYS, NEVER = dict.fromkeys(COSTS_US, 0.0), dict.fromkeys(COSTS_US, float("inf"))


@dataclass
class Entry:
    key: str
    value: str | None = None
    source: str = "list"
    line: int = 1


class DictTable:
    """A table as a policy sees it, out of a dict {key: value}; None: it cannot be read."""

    def __init__(self, name, kind, rows):
        self.name, self.kind, self.rows = name, kind, rows

    def find(self, text):
        if self.rows is None:
            raise TableError(f"table {self.name} is damaged")
        key = self._key(text)
        return key.encode("utf-8", "surrogateescape") if key in self.rows else None

    def _key(self, text):
        if self.kind == "cidr":
            key = keys.ip_key(text)
            return keys.ip_text(key) if key else ""
        if self.kind == "domain":
            names = keys.domain_names(text)
            return next((name for name in names if name in self.rows), names[0])
        return keys.fold_text(text)

    def entry(self, raw):
        key = raw.decode("utf-8", "surrogateescape")
        return Entry(key, self.rows[key])

    def value(self, raw):
        return self.entry(raw).value


class ScannedTable(DictTable):
    """A table of several columns, out of a dict {patterns: value}."""

    def find(self, *texts):
        if self.rows is None:
            raise TableError(f"table {self.name} is damaged")
        number = scanned(self.kind.removeprefix("pair:").split(","), list(self.rows), texts)
        return None if number is None else str(number).encode()

    def entry(self, raw):
        patterns = list(self.rows)[int(raw)]
        return Entry(" ".join(patterns), self.rows[patterns])


class TextFiles(Files):
    """Files that exist in memory only."""

    def __init__(self, texts):
        super().__init__()
        self.texts = texts

    def read(self, path):
        if str(path) not in self.texts:
            return super().read(path)
        text = self.texts[str(path)]
        return text if isinstance(text, bytes) else text.encode()


def table_of(name, kind, rows):
    """The table of a declaration."""
    return (ScannedTable if kind.startswith("pair:") else DictTable)(name, kind, rows)


def policy_of(text, tables=None, *, warnings=None, **more):
    """A policy from text; `tables`: {name: {key: value}}. Warnings are added to the list of that name.

    Its attribute `indexed` is the same policy, with an index for whatever can have one, for `decide` to compare.
    """
    files = TextFiles({"policy.conf": text, **more.pop("files", {})})

    def load(**options):
        rows = tables or {}
        lookup_for = lambda each: table_of(each.name, each.kind, rows.get(each.name, {}))  # noqa: E731
        return load_policy("policy.conf", lookup_for, files=files, **options)

    policy, found = load(**more)
    policy.indexed, _ = load(**{**more, "index_costs_us": ALWAYS})
    if warnings is not None:
        warnings += found
    return policy


def diagnostics_of(text, **more):
    """The diagnostics about a policy that does not load."""
    try:
        policy_of(text, **more)
    except ConfigError as error:
        return [str(diagnostic) for diagnostic in error.diagnostics]
    return []


def request_of(**attributes):
    """A request at RCPT from outside, with what is given instead."""
    usual = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "client_address": "203.0.113.5",
        "client_name": "mail.example.org",
        "helo_name": "mail.example.org",
        "sender": "a@example.com",
        "recipient": "b@example.com",
        "sasl_username": "",
        "sasl_method": "",
        "size": "0",
    }
    return Request({**usual, **attributes}, None)


def decide(policy, **attributes):
    """The text of the reply to a request, from the compiled policy; the exact evaluation and the index have to agree.

    Only where an ACL fails may the compiled policy leave the decision to the exact evaluation.
    """
    request = request_of(**attributes)
    values = wanted_values(request, policy.wanted)
    rule, noted, exactly = decided(policy, values)
    trace = policy.trace(values)
    failed = any(
        each.answer is Answer.FAILED
        for tried in trace.tried
        for looked, _ in tried.looked
        for each in looked.all_looked
    )
    assert exactly is failed
    assert trace.outcome is rule
    assert trace.noted == noted
    same, also_noted, exactly = decided(policy.indexed, values)
    assert same.number == rule.number
    assert [each.number for each in also_noted] == [each.number for each in noted]
    assert not exactly or failed or any(table.rows is None for table in policy.tables.values())
    return policy.text(rule, values)


def decided(policy, values):
    """The rule that decides, the rules noted on the way, and whether it took the exact evaluation."""
    with mock.patch.object(policy, "_decide_exactly", side_effect=policy._decide_exactly) as exactly:
        rule = policy.decide(values).rule
    return rule, [each.rule for each in policy.take_noted()], exactly.called
