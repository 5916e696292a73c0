"""Imports, in the master, what its children would import later: they may not be allowed to read those files any more.

Workers and the metrics process give up root, and the interpreter may lie where root alone may enter (a checkout below
/root, a directory of mode 0700). Libraries import at the first use of something, so most of this is a first use; that
it is enough is what tests/process/test_nothing_imported.py shows. What was imported before the fork is shared memory,
too. Called once, before the first fork; makes no hub of gevent and leaves no environment of LMDB open.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import NoReturn

import gevent

from forkpolicy.errors import nearest
from forkpolicy.policy.matchers.types import import_types
from forkpolicy.tables.keys import fold_domain
from forkpolicy.tables.reader import open_once
from forkpolicy.world.dns import require as require_dns


def preload(*, engine: bool) -> None:
    """Do for the first time what imports at the first time. `engine`: also what asks an engine."""
    for name in ("loop", "format_context", "threadpool", "resolver"):
        getattr(gevent.config, name)
    fold_domain("b\u00fccher.example")
    nearest("acl", ("acl",))
    open_once()
    # An extra, which the policy of the next reload may need.
    with suppress(ImportError):
        require_dns()
    _preload_policy()
    _format_tracebacks()
    if engine:
        _preload_engine()


def _preload_policy() -> None:
    """Whatever the policy of the next reload may have; what plans it is imported by that of the start."""
    from forkpolicy import postgresql_urls, redis_urls  # noqa: F401, PLC0415
    from forkpolicy.policy.matchers import regex  # noqa: F401, PLC0415
    from forkpolicy.policy.matchers.remembering import deeds  # noqa: F401, PLC0415
    from forkpolicy.state import live_map  # noqa: F401, PLC0415
    from forkpolicy.state.redis import opening  # noqa: F401, PLC0415

    import_types()


def _preload_engine() -> None:
    """An extra, and the scripts, which are files, too."""
    from forkpolicy.state.redis import discovery  # noqa: F401, PLC0415
    from forkpolicy.state.redis.commands import Commands  # noqa: PLC0415
    from forkpolicy.worker.redis import store  # noqa: F401, PLC0415

    Commands("")


def _format_tracebacks() -> None:
    """Python 3.13 imports what looks for names that were perhaps meant only with the first exception of its kind."""
    for kind in (NameError, AttributeError, ImportError):
        try:
            _raise(kind)
        except kind as error:
            traceback.format_exception(error)


def _raise(kind: type[NameError | AttributeError | ImportError]) -> NoReturn:
    raise kind("preloading", name="nothing")
