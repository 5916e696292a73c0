"""`forkpolicy status`: what the running master reports about itself and its workers, once.

With `--hosts`: what the hosts that share an engine run, side by side. Exit status 1: none has written there.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

from forkpolicy.commands.shared.control import look_at_master
from forkpolicy.commands.shared.hosts import Host, hosts_as_text
from forkpolicy.commands.shared.parsers import add_json, add_settings
from forkpolicy.commands.shared.status_report import as_text
from forkpolicy.documents import plain
from forkpolicy.errors import EXIT_DONE, EXIT_NO, UsageError
from forkpolicy.redis_urls import is_redis_url
from forkpolicy.settings import load_settings
from forkpolicy.state.redis.opening import open_store
from forkpolicy.status_document import StatusDocument

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    parser.add_argument("--hosts", action="store_true", help="what all hosts run that share this one's engine")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look and print."""
    if arguments.hosts:
        return _hosts(arguments)
    seen = StatusDocument.of(look_at_master(arguments))
    print(json.dumps(plain(seen)) if arguments.as_json else as_text(seen))
    return EXIT_DONE


def _hosts(arguments: argparse.Namespace) -> int:
    """Needs no running master. Raises UsageError where there is no engine, StateError where it does not answer."""
    state = load_settings(arguments.settings).state
    if not is_redis_url(state.url):
        raise UsageError(f"--hosts: [state] url is {state.url}: hosts know each other by the engine that they share")
    with closing(open_store(state)) as store:
        hosts = [host for each in store.hosts() if (host := Host.of(*each))]
    print(json.dumps({"hosts": [plain(host) for host in hosts]}) if arguments.as_json else hosts_as_text(hosts))
    return EXIT_DONE if hosts else EXIT_NO
