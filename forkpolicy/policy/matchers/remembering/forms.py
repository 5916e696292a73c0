"""The actions that change a list, by their verb, and the form of each. What they do: deeds.py."""

from __future__ import annotations

from typing import Final

FORMS: Final = {"remember": "remember LIST {KEY}... DURATION", "forget": "forget LIST {KEY}..."}
