"""The URLs of feeds: which are accepted, and which words of a policy are some. Raises ValueError with the reason."""

from __future__ import annotations

import importlib.util
import re
from typing import Final
from urllib.parse import urlsplit

from forkpolicy.endpoints import HIGHEST_PORT

EXPECTED: Final = "expected https://HOST/PATH"


def is_feed(word: str) -> bool:
    """Whether a source is fetched from a server."""
    return word.removeprefix("csv:").startswith("https://")


def check_url(url: str) -> str:
    """The URL, if it can be fetched. Raises ValueError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # What it says may quote a password.
        raise ValueError(f"{EXPECTED}, with a port from 1 to {HIGHEST_PORT} if it has one") from None
    if not parts.hostname or port == 0:
        raise ValueError(f"{EXPECTED}, such as https://lists.example.org/networks.txt")
    if importlib.util.find_spec("urllib3") is None:
        raise ValueError("https sources need urllib3, which is not installed: pip install 'forkpolicy[https]'")
    return url


def refuse_plain(word: str) -> None:
    """Raises ValueError for a URL by which anybody on the way could change the list."""
    if re.match(r"(?:csv:)?(?:http|ftp)://", word, re.IGNORECASE):
        raise ValueError(
            "anybody on the way could change what it sends: use https://, or a file that you fetch yourself"
        )
