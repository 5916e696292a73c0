"""The generation of a start, also when a restricted file of the policy has mistakes: then its last good copy is used.

A reload keeps the generation that serves; a start has none, and mail must not wait until somebody has mended a file
that is not the administrator's. Each generation that loads leaves copies of its restricted files next to what the
policy remembers, where their writer cannot write. Raises ConfigError for mistakes elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import CannotWriteError, ConfigError, Diagnostic
from forkpolicy.files import Files
from forkpolicy.loading import load_everything
from forkpolicy.preflight import worker_identity
from forkpolicy.regular_files import MAX_BYTES_OF_OTHERS
from forkpolicy.settings import load_settings
from forkpolicy.state_places import make_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from forkpolicy.loading import Loaded
    from forkpolicy.settings import Settings

_NAME_CHARS: Final = 16
_MODE: Final = 0o600


def load_at_start(settings_path: str) -> Loaded:
    """Load; with last good copies in place of restricted files that have mistakes, which are warnings then."""
    try:
        loaded = load_everything(settings_path)
    except ConfigError as error:
        return _with_last_good(settings_path, error)
    return _kept(loaded)


def load_again(settings_path: str, reading: Callable[[str], None]) -> Loaded:
    """Load for a reload: a mistake anywhere is a ConfigError. `reading` is called with each path before it is read."""
    return _kept(load_everything(settings_path, files=Files(reading)))


class _Replaced(Files):
    """The files on disk, but for some of which the bytes are given."""

    def __init__(self, given: Mapping[str, bytes]) -> None:
        super().__init__()
        self.snapshot.update(given)


def _with_last_good(settings_path: str, error: ConfigError) -> Loaded:
    settings = load_settings(settings_path)
    restricted = _restricted_of(settings)
    wrong = [each for each in error.diagnostics if each.path in restricted]
    if not wrong:
        raise error
    given: dict[str, bytes] = {}
    said: list[Diagnostic] = []
    for path in sorted({each.path for each in wrong}):
        copy = _read_copy(settings, path)
        given[path] = copy or b""
        what = "its last good copy is used" if copy is not None else "nothing of it is used, as there is no good copy"
        said.append(Diagnostic(path, 0, 0, f"has mistakes: {what}", severity="warning"))
    loaded = load_everything(settings_path, files=_Replaced(given))
    mistakes = (replace(each, severity="warning") for each in wrong)
    return loaded._replace(
        warnings=(*said, *mistakes, *loaded.warnings),
        stand_ins=tuple(f"{each.path} {each.message}" for each in said),
    )


def _restricted_of(settings: Settings) -> set[str]:
    from forkpolicy.policy.parser import parse_policy  # noqa: PLC0415 - after a mistake only

    return parse_policy(settings.policy, Files()).restricted


def _kept(loaded: Loaded) -> Loaded:
    """Keep copies of its restricted files. Where that is not possible, a start with a mistake is one without them."""
    said = list(_keep(loaded))
    return loaded._replace(warnings=(*loaded.warnings, *said)) if said else loaded


def _keep(loaded: Loaded) -> Iterator[Diagnostic]:
    for path in loaded.policy.restricted:
        data = loaded.snapshot[path]
        if _read_copy(loaded.settings, path) == data:
            continue
        try:
            make_kept(loaded.settings.state, worker_identity(loaded.settings))
            _write(_copy_path(loaded.settings, path), data)
        except (OSError, CannotWriteError) as error:
            yield Diagnostic(
                path, 0, 0, f"no good copy of it can be kept for the next start: {error}", severity="warning"
            )


def _copy_path(settings: Settings, path: str) -> Path:
    return Path(settings.state.kept) / f"restricted-{sha256(path.encode()).hexdigest()[:_NAME_CHARS]}"


def _read_copy(settings: Settings, path: str) -> bytes | None:
    with contextlib.suppress(OSError):
        fd = os.open(_copy_path(settings, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            return file.read(MAX_BYTES_OF_OTHERS)
    return None


def _write(path: Path, data: bytes) -> None:
    """Replace the file in one step."""
    aside = path.with_name(f"{path.name}.new")
    aside.unlink(missing_ok=True)
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    aside.replace(path)
