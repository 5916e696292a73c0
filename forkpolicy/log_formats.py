"""A function that writes one kind of log line, generated: what is the same in each line is put together once.

The usual line, whose values need no escape, is one check and one expression. Any other value is encoded by
log_lines.py within the same expression, and a line that is too long is made there as a whole: the bytes are always
those of `line_bytes`. To add a field, add it to `fields`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from forkpolicy.log_lines import MAX_LINE_BYTES, json_value, line_bytes, logfmt_value, marked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import CodeType

# Takes the arguments of its format, and writes the line.
Writer = Callable[..., None]

# The name of the function in its source.
_NAME = "write_line"
# What stands in quotes as it is.
_USUAL = bytes(set(range(ord(" "), ord("~") + 1)) - set(b'"\\'))


@dataclass(frozen=True, slots=True)
class Slot:
    """A value that comes with each line. `source`: an expression of the function's arguments; it is ours, no text of a
    policy or a request. `kind`: what the value usually is. A word has no blanks, a sentence has some; a number is an
    int; a mark is a word of ours that is never anything else; json is encoded already, for lines in JSON alone; any
    other value is always encoded the exact way. `convert` makes the value of what `source` gives.
    """

    source: str
    kind: Literal["word", "sentence", "number", "mark", "json", "any"] = "word"
    convert: Callable[..., object] | None = None

    def expression(self, name: str) -> str:
        """Where `convert` is called `name`."""
        return f"{name}({self.source})" if self.convert else self.source


@dataclass(frozen=True, slots=True)
class LineFormat:
    """The lines of one kind. `fields` are those behind the time, in order: a Slot, or a value that is always the same.
    `arguments`: what the slots are made of.
    """

    style: str
    priority: int
    fields: Mapping[str, object]
    arguments: Sequence[str]

    def writer(self, now: Callable[[], str], write: Callable[[bytes], None]) -> Writer:
        """The function. It takes the arguments in their order, and passes the line to `write`."""
        names = ("time", *self.fields)
        namespace: dict[str, object] = {
            "now": now,
            "write": write,
            "exact": lambda values: line_bytes(self.style, self.priority, self._decoded(names, values)),
            "encoded": json_value if self.style == "json" else logfmt_value,
            "usual": _USUAL,
            "empty": '""',
        }
        namespace |= {f"field{at}": value for at, value in enumerate(self.fields.values())}
        usual, careful = self._expression(namespace, careful=False), self._expression(namespace, careful=True)
        namespace |= {f"convert{at}": slot.convert for at, slot in self._slots()}
        lines = [f"field{at} = {slot.expression(f'convert{at}')}" for at, slot in self._slots()]
        values = ", ".join(("time", *(f"field{at}" for at in range(len(self.fields)))))
        source = "\n    ".join(
            (
                f"def {_NAME}({', '.join(self.arguments)}):",
                "time = now()",
                *lines,
                # None is no text, and half a character no UTF-8: they are encoded like any other unusual value.
                f"try: {self._check()}",
                "except (TypeError, UnicodeEncodeError): is_usual = False",
                f"line = ({usual} if is_usual else {careful}).encode()",
                f"write(line if len(line) <= {MAX_LINE_BYTES} else exact(({values})))",
            )
        )
        exec(_compiled(source), namespace)  # noqa: S102 - our own text: values come through the namespace
        made: Writer = namespace[_NAME]  # type: ignore[assignment]
        return made

    def _decoded(self, names: Sequence[str], values: Sequence[object]) -> dict[str, object]:
        """The fields of a line, with what is JSON already as what it says."""
        kinds = ("", *(slot.kind if isinstance(slot, Slot) else "" for slot in self.fields.values()))
        pairs = zip(names, values, kinds, strict=True)
        return {name: json.loads(str(value)) if kind == "json" else value for name, value, kind in pairs}

    def _slots(self) -> list[tuple[int, Slot]]:
        return [(at, slot) for at, slot in enumerate(self.fields.values()) if isinstance(slot, Slot)]

    def _check(self) -> str:
        """Statements that find whether all values may stand in the usual line as they are.

        Deleting all usual bytes and looking what is left is faster than any regular expression.
        """
        words = _listed(f"field{at}" for at, slot in self._slots() if slot.kind == "word")
        sentences = [f"field{at}" for at, slot in self._slots() if slot.kind == "sentence"]
        is_usual = f"not ''.join(({_listed(sentences)}words)).encode().translate(None, usual)"
        if self.style == "json":
            return f"words = ''.join(({words})); is_usual = {is_usual}"
        blanks = "".join(f"' ' in {name} and " for name in sentences)
        return f"words = ''.join(({words})); is_usual = {blanks}' ' not in words and '=' not in words and {is_usual}"

    def _expression(self, namespace: dict[str, object], *, careful: bool) -> str:
        """The line as an f-string; texts between the slots go to the namespace."""
        is_json = self.style == "json"
        prefix, colon = ('{"', '":') if is_json else ("", "=")
        before = f"{marked(self.priority)}{prefix}time{colon}{chr(34) if is_json else ''}"
        text, between = "{time}", '"' if is_json else ""
        parts = [_literal(before, namespace), text]
        for at, (name, value) in enumerate(self.fields.items()):
            between += f',"{name}{colon}' if is_json else f" {name}="
            if not isinstance(value, Slot):
                between += json_value(value) if is_json else logfmt_value(value)
                continue
            parts += [_literal(between, namespace), self._placed(f"field{at}", value, careful=careful)]
            between = ""
        return f"f'{''.join(parts)}{_literal(between + ('}' if is_json else '') + chr(10), namespace)}'"

    def _placed(self, name: str, slot: Slot, *, careful: bool) -> str:
        if slot.kind in ("number", "json") or (slot.kind == "mark" and self.style == "logfmt"):
            return f"{{{name}}}"
        if slot.kind == "mark":
            return f'"{{{name}}}"'
        if careful or slot.kind == "any":
            return f"{{encoded({name})}}"
        if self.style == "json" or slot.kind == "sentence":
            return f'"{{{name}}}"'
        return f"{{{name} or empty}}"


def _literal(text: str, namespace: dict[str, object]) -> str:
    """A text through the namespace, as an f-string shows it."""
    name = f"literal{len(namespace)}"
    namespace[name] = text
    return f"{{{name}}}"


def _listed(names: Iterable[str]) -> str:
    return "".join(f"{name}, " for name in names)


@lru_cache(maxsize=64)
def _compiled(source: str) -> CodeType:
    """The lines of all rules have a few shapes, and compiling one takes as long as writing a hundred lines."""
    return compile(source, "<a log line>", "exec")
