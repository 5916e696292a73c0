"""Settings for tests: users and groups of `[server]` that exist wherever the tests run. Nothing changes hands."""

from __future__ import annotations

import grp
import os
import pwd


def worker_lines() -> str:
    """Lines of [server]: workers stay what the tests run as."""
    return f'user = "{_user()}"\ngroup = "{_group()}"\n'


def owner_lines() -> str:
    """The same, and the sockets are theirs."""
    return f'{worker_lines()}socket_user = "{_user()}"\nsocket_group = "{_group()}"\n'


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _group() -> str:
    return grp.getgrgid(os.getegid()).gr_name
