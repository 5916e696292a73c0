"""Texts for the people whose mail is held, in their language: pages of the console and digests.

The English text is the key, `{name}` in it a value. `es.toml` and `ca.toml` have the others; a text that they lack is
shown in English (tests/unit/test_translations.py keeps them complete). Pure but for the files of this package.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

# Each by its own name, so that everybody finds it.
LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "es": "Español", "ca": "Català"}
DEFAULT: Final = "en"
_MOST_PREFERENCES: Final = 20


class Say(Protocol):
    """`translate` in a language that is chosen already."""

    def __call__(self, text: str, /, **values: object) -> str:
        """A text with its values."""
        ...


def translate(language: str, text: str, /, **values: object) -> str:
    """A text in a language, with its values filled in."""
    found = catalogue(language).get(text, text)
    return found.format_map({name: _shown(language, value) for name, value in values.items()}) if values else found


def _shown(language: str, value: object) -> str:
    """A value as people of that language write it: 10.5 in English, 10,5 elsewhere."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:g}" if language == DEFAULT else f"{value:g}".replace(".", ",")


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Translations by the English text; none for English and for what is no language of ours."""
    if language == DEFAULT or language not in LANGUAGES:
        return {}
    return tomllib.loads(Path(__file__).with_name(f"{language}.toml").read_text("utf-8"))


def preferred(accept_language: str) -> str:
    """The first language of ours in an Accept-Language header (RFC 9110, section 12.5.4); empty: it names none."""
    weighed = []
    for place, each in enumerate(accept_language.split(",")[:_MOST_PREFERENCES]):
        tag, _, weight = each.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES and (quality := _quality(weight)) > 0:
            weighed.append((-quality, place, language))
    return min(weighed)[2] if weighed else ""


def _quality(weight: str) -> float:
    name, _, number = weight.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(number)
    except ValueError:
        return 0.0
