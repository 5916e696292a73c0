"""Documents that one process sends another: frozen dataclasses, as plain values and back.

`plain` gives dicts, sequences and scalars for msgpack or JSON; `parse` builds a document from such values and checks
each one by the annotation of its field: str, bytes, bool, int, float, `X | None`, `tuple[X, ...]`, `tuple[X, Y]`,
`dict[str, X]` and documents. A field with a default may be missing. Knows no format, version or socket.

Raises InvalidDocumentError, which names the field, for values that are not the document. Own code, since the messages
need no more than this: msgspec checks as well, takes 18 ms to import, and would be one dependency more.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

# A class, or what typing makes of `X | None` and `tuple[X, ...]`.
Annotation = Hashable
Parser = Callable[[object, str], object]
Document = TypeVar("Document")

# The numbers of msgpack, and of a scoreboard.
LEAST_INT, GREATEST_INT = -(1 << 63), (1 << 64) - 1
SHOWN_CHARACTERS = 40
# Of a field that is None: it is left out of the plain values.
LEFT_OUT = {"left_out": True}


class InvalidDocumentError(ValueError):
    """A value is not what was declared. The text names the field."""


def left_out() -> Any:  # the type of any field, as that of dataclasses.field
    """The default of a field that stands in the document only where it has a value."""
    return dataclasses.field(default=None, metadata=LEFT_OUT)


def plain(value: object) -> object:
    """The plain values of a document, and of what documents consist of."""
    if dataclasses.is_dataclass(value):
        return {
            field.name: plain(each)
            for field in dataclasses.fields(value)
            if (each := getattr(value, field.name)) is not None or "left_out" not in field.metadata
        }
    if isinstance(value, tuple):
        # Rows of numbers are long, and are plain as they are.
        return value if value and isinstance(value[0], (int, str)) else [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return value


def plain_fields(document: object) -> dict[str, object]:
    """The plain values of a document, by its fields."""
    fields = plain(document)
    assert isinstance(fields, dict)
    return fields


def parse(kind: type[Document], value: object, *, where: str = "", others: bool = False) -> Document:
    """The document of that kind. `others`: fields that are not declared are ignored: a newer release sends them.

    Raises InvalidDocumentError.
    """
    found = _parser(kind, others)(value, where)  # type: ignore[arg-type]  # a class can be hashed
    assert isinstance(found, kind)
    return found


@functools.cache
def _parser(annotation: Annotation, others: bool) -> Parser:
    """What checks and builds a value of an annotated type."""
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _document_parser(annotation, others)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        (kind,) = (each for each in arguments if each is not types.NoneType)
        return _optional_parser(_parser(kind, others))
    if origin is tuple and arguments[-1] is Ellipsis:
        parse_value = _parser(arguments[0], others)
        return _scalar_row_parser(arguments[0], parse_value) if arguments[0] in (int, str) else _row_parser(parse_value)
    if origin is tuple:
        return _fixed_row_parser([_parser(each, others) for each in arguments])
    if origin is dict and arguments[0] is str:
        return _map_parser(_parser(arguments[1], others))
    return SCALARS[annotation]


def _document_parser(kind: type, others: bool) -> Parser:
    hints = typing.get_type_hints(kind)
    fields = {each.name: _parser(hints[each.name], others) for each in dataclasses.fields(kind)}
    required = {each.name for each in dataclasses.fields(kind) if _is_required(each)}

    def parse_document(value: object, where: str) -> object:
        if not isinstance(value, dict):
            raise _unexpected(value, "a map", where)
        prefix = f"{where}." if where else ""
        for name in required - value.keys():
            raise InvalidDocumentError(f"{prefix}{name}: is missing")
        if not others:
            for name in value.keys() - fields.keys():
                raise InvalidDocumentError(f"{prefix}{_shown(name)}: is not a field")
        return kind(**{name: read(value[name], prefix + name) for name, read in fields.items() if name in value})

    return parse_document


def _is_required(field: dataclasses.Field[object]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _optional_parser(parse_value: Parser) -> Parser:
    return lambda value, where: None if value is None else parse_value(value, where)


def _scalar_row_parser(kind: Annotation, parse_value: Parser) -> Parser:
    """For texts and numbers of thousands of lines, which are checked one by one only to name a wrong one."""
    parse_each = _row_parser(parse_value)

    def parse_row(value: object, where: str) -> object:
        row = _row(value, where)
        if {kind}.issuperset(map(type, row)) and (kind is str or _are_64_bits(row)):
            return tuple(row)
        return parse_each(row, where)

    return parse_row


def _are_64_bits(row: Sequence[int]) -> bool:
    return not row or (min(row) >= LEAST_INT and max(row) <= GREATEST_INT)


def _row_parser(parse_value: Parser) -> Parser:
    return lambda value, where: tuple(
        parse_value(each, f"{where}[{number}]") for number, each in enumerate(_row(value, where))
    )


def _fixed_row_parser(parsers: list[Parser]) -> Parser:
    def parse_row(value: object, where: str) -> object:
        row = _row(value, where)
        if len(row) != len(parsers):
            raise InvalidDocumentError(f"{where}: expected {len(parsers)} values, found {len(row)}")
        return tuple(parse_value(each, where) for parse_value, each in zip(parsers, row, strict=True))

    return parse_row


def _map_parser(parse_value: Parser) -> Parser:
    def parse_map(value: object, where: str) -> object:
        if not isinstance(value, dict):
            raise _unexpected(value, "a map", where)
        return {_str(name, where): parse_value(each, f"{where}[{_shown(name)}]") for name, each in value.items()}

    return parse_map


def _row(value: object, where: str) -> Sequence[Any]:  # values that nobody has checked yet
    if not isinstance(value, (list, tuple)):
        raise _unexpected(value, "a list", where)
    return value


def _str(value: object, where: str) -> str:
    if type(value) is not str:
        raise _unexpected(value, "a text", where)
    return value


def _bytes(value: object, where: str) -> bytes:
    if type(value) is not bytes:
        raise _unexpected(value, "bytes", where)
    return value


def _bool(value: object, where: str) -> bool:
    if type(value) is not bool:
        raise _unexpected(value, "true or false", where)
    return value


def _int(value: object, where: str) -> int:
    if type(value) is not int or not LEAST_INT <= value <= GREATEST_INT:
        raise _unexpected(value, "a whole number of 64 bits", where)
    return value


def _float(value: object, where: str) -> float:
    if type(value) is int:
        return _int(value, where)
    if type(value) is not float or not math.isfinite(value):
        raise _unexpected(value, "a number", where)
    return value


SCALARS: dict[Annotation, Parser] = {str: _str, bytes: _bytes, bool: _bool, int: _int, float: _float}


def _unexpected(value: object, expected: str, where: str) -> InvalidDocumentError:
    return InvalidDocumentError(f"{where or 'the document'}: expected {expected}, found {_shown(value)}")


def _shown(value: object) -> str:
    """A value of a stranger in so many characters; of a container only its kind, which is shown in no time."""
    if isinstance(value, (str, bytes)):
        return repr(value[:SHOWN_CHARACTERS])
    if isinstance(value, int) and not LEAST_INT <= value <= GREATEST_INT:
        return "a greater number"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return "a map" if isinstance(value, dict) else "a list" if isinstance(value, list) else type(value).__name__
