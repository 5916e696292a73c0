"""What keeps people from signing in to the console by another server, as far as files and packages of this machine say.

`find_sign_in_findings` is for `check`, and asks no server. A secret is the first line of a file that nobody else may
read; `read_secret` raises ValueError.
"""

from __future__ import annotations

import ssl
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.rights import others_may_read
from forkpolicy.settings import diagnostic_at_setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.console_settings import ConsoleSettings
    from forkpolicy.errors import Diagnostic
    from forkpolicy.settings import Settings

_PACKAGES: Final = {"ldap": ("ldap3",), "oidc": ("joserfc", "urllib3")}
_SECRETS: Final = {"ldap": "ldap_password_file", "oidc": "oidc_secret_file"}


def find_sign_in_findings(settings: Settings) -> list[Diagnostic]:
    """Every error, each at its setting."""
    at = partial(diagnostic_at_setting, settings.path, "console")
    return [at(*each) for each in _errors(settings.console)]


def _errors(console: ConsoleSettings) -> Iterator[tuple[str, str, str]]:
    for way in console.sign_in:
        missing = [name for name in _PACKAGES.get(way, ()) if find_spec(name) is None]
        if missing:
            message = f'sign_in: "{way}" needs {" and ".join(missing)}, which this Python does not have'
            yield "sign_in", message, f"pip install 'forkpolicy[{way}]'"
        name = _SECRETS.get(way, "")
        path = getattr(console, name) if name else ""
        try:
            if path:
                read_secret(name, path)
        except ValueError as error:
            yield name, str(error), "user fp-console must be able to read it, and nobody else"
    if console.ca_file and set(console.sign_in) != {"local"}:
        try:
            ssl.create_default_context(cafile=console.ca_file)
        except OSError as error:
            why = "no such certificates are in it" if isinstance(error, ssl.SSLError) else error.strerror
            yield "ca_file", f"ca_file: {console.ca_file} cannot be used: {why}", "expected certificates as PEM"


def read_secret(setting: str, path: str) -> str:
    """The secret in a file."""
    try:
        first = Path(path).read_text("utf-8").partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise ValueError(f"{setting}: {path} cannot be read: {(error.strerror or '').lower()}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{setting}: {path} is not UTF-8: expected a secret in its first line") from error
    if others_may_read(path):
        raise ValueError(f"{setting}: everybody may read {path}: chmod o= {path}")
    if not first:
        raise ValueError(f"{setting}: {path} is empty: expected a secret in its first line")
    return first
