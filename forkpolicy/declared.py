"""TOML files whose values are declared as fields of dataclasses: name, type, default, bounds and help, each once.

`setting` declares a value; `TomlReader` checks a file against the declarations and collects a diagnostic for every
error in it, with its line and the nearest known name. Knows no setting. Raises ConfigError only where the file is not
UTF-8 or not TOML at all.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar

from forkpolicy.errors import ConfigError, Diagnostic, nearest

T = TypeVar("T")
Declared = type[Any]  # a dataclass of settings: typing has no name for those
Values = dict[str, Any]  # by name, of as many types as there are settings
Checks = Mapping[str, Any]  # what `setting` was given, by name: bounds, texts and functions


def setting(default: object, text: str, **checks: object) -> Any:  # the type of any field, as that of dataclasses.field
    """Declare one value: default, help text, and where they apply `ge`, `le`, `choices`, `pattern`, `expected`,
    `mistake` (a function that says in words what is wrong with a text), `value_mistake` (the same for a value of any
    type), `optional` (a text may be empty), `required` (the file must have it) and `path`.
    """
    metadata = {"help": text, **checks}
    if isinstance(default, list):
        return field(default_factory=lambda: tuple(default), metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def default_of(kind: Declared, name: str) -> object:
    """The default of a declared value."""
    found = next(each for each in fields(kind) if each.name == name)
    if found.default_factory is not MISSING:
        return found.default_factory()
    return found.default


def decode(path: str, raw: bytes) -> str:
    """The text of a file. Raises ConfigError where it is not UTF-8."""
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8: save the file as UTF-8"
        raise ConfigError([Diagnostic(path, line, 0, message)]) from error


class TomlReader:
    """Checks parsed TOML against the declarations above and remembers every diagnostic."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.lines = text.split("\n")
        self.diagnostics: list[Diagnostic] = []

    def document(self) -> Values:
        """The file's values. Raises ConfigError where it is not TOML."""
        try:
            return tomllib.loads(self.text)
        except ValueError as error:
            # Also what int() says of thousands of digits, which tomllib lets through.
            raise ConfigError([self._syntax_error(str(error))]) from error
        except RecursionError as error:
            raise ConfigError([self._syntax_error("values are nested too deeply")]) from error

    def _syntax_error(self, message: str) -> Diagnostic:
        found = re.search(r"\(at line (\d+), column (\d+)\)", message)
        line, column = (int(found[1]), int(found[2])) if found else (len(self.lines), 1)
        return self.at(line, column, f"not TOML: {message.split(' (at ', maxsplit=1)[0]}")

    def section(self, kind: type[T], name: str, table: object) -> T:
        """A section as its dataclass, with the defaults for what is wrong in it."""
        if not isinstance(table, dict):
            self._report(name, "", f"[{name}] is a section: write its settings below a line [{name}]")
            return kind()
        return kind(**self.values(kind, name, table))

    def values(self, kind: Declared, section: str, table: Values, extra: tuple[str, ...] = ()) -> Values:
        """The good values of a table; what is wrong with the others, and unknown names, are reported."""
        known = {each.name: each for each in fields(kind) if "help" in each.metadata}
        for name, declared in known.items():
            if declared.metadata.get("required") and name not in table:
                self.report_at(None, name, f'"{name}" is missing', str(declared.metadata["help"]))
        good: Values = {}
        for key, value in table.items():
            if key not in known:
                self._unknown(section, key, (*known, *extra), is_section=isinstance(value, dict))
                continue
            metadata = known[key].metadata
            wrong = _mistake(value, default_of(kind, key), metadata)
            if wrong:
                self._report(key, section, f"{key}: {wrong}")
            else:
                good[key] = tuple(value) if isinstance(value, list) else value
        return good

    def _unknown(self, section: str, key: str, known: tuple[str, ...], *, is_section: bool) -> None:
        what = "section" if is_section else "setting"
        where = f" in [{section}]" if section else ""
        near = nearest(key, known)
        hint = f'did you mean "{near}"?' if near else f"known here: {', '.join(known)}"
        self._report(key, section, f'unknown {what} "{key}"{where}', hint)

    def _report(self, key: str, section: str, message: str, hint: str = "") -> None:
        self.report_at(self.place(key, section), key, message, hint)

    def report_at(self, place: tuple[int, int] | None, key: str, message: str, hint: str) -> None:
        """Report at a place of the file; None: its first line."""
        line, column = place or (1, 1)
        self.diagnostics.append(self.at(line, column, message, len(key), hint))

    def at(self, line: int, column: int, message: str, width: int = 1, hint: str = "") -> Diagnostic:
        """A diagnostic with the line of the file."""
        source = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return Diagnostic(self.path, line, column, message, source, width, hint)

    def place(self, key: str, section: str) -> tuple[int, int] | None:
        """Line and column of a key in the file; None where it is not there."""
        # tomllib keeps no positions, so the line is looked up again; only dotted keys escape this.
        current = ""
        for number, line in enumerate(self.lines, 1):
            header = re.match(r"\s*\[\s*([\w.-]+)\s*\]", line)
            if header:
                current = header[1]
                if current == key and not section:
                    return number, line.index(key) + 1
            elif current == section and (found := re.match(rf"\s*[\"']?({re.escape(key)})[\"']?\s*=", line)):
                return number, found.start(1) + 1
        return None


def _mistake(value: object, default: object, checks: Checks) -> str:
    """What is wrong with one value, in words; empty when nothing is."""
    if "value_mistake" in checks:
        return str(checks["value_mistake"](value))
    if isinstance(value, str) and value in checks.get("choices", ()):
        return ""
    if "ge" in checks:
        return _number_mistake(value, checks, whole=not isinstance(default, float))
    if isinstance(default, tuple):
        needs_one = default or checks.get("required")
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or (needs_one and not value):
            return f"expected a list of texts{_example(default)}, got {shown(value)}"
        return next((wrong for item in value if (wrong := _text_mistake(item, checks))), "")
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else f"expected true or false, got {shown(value)}"
    if not isinstance(value, str):
        return f"expected a text in quotes, got {shown(value)}"
    return _text_mistake(value, checks)


def _number_mistake(value: object, checks: Checks, *, whole: bool) -> str:
    choices = "".join(f' or "{choice}"' for choice in checks.get("choices", ()))
    bounds = f"from {checks['ge']} to {checks['le']}" if "le" in checks else f"of at least {checks['ge']}"
    expected = f"expected a number {bounds}{choices}, got {shown(value)}"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return expected
    return "" if checks["ge"] <= value <= checks.get("le", value) else expected


def _text_mistake(value: str, checks: Checks) -> str:
    if "choices" in checks:
        near = nearest(value, checks["choices"])
        hint = f'; did you mean "{near}"?' if near else ""
        return f"expected one of {', '.join(checks['choices'])}, got {shown(value)}{hint}"
    if "pattern" in checks and not re.fullmatch(checks["pattern"], value):
        return f"expected {checks.get('expected', checks['pattern'])}, got {shown(value)}"
    if any(ord(character) < 32 for character in value):
        return "control characters are not allowed"
    if not value:
        return "" if "pattern" in checks or checks.get("optional") else "cannot be empty"
    return str(checks["mistake"](value)) if "mistake" in checks else ""


def _example(items: tuple[str, ...]) -> str:
    return f' such as ["{items[0]}"]' if items else ""


def shown(value: object) -> str:
    """A value as the file has it, for a message."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
