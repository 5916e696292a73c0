"""What operators have done to what is remembered: the same in every store."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from forkpolicy.control_messages import StateForgetCommand, StateRememberCommand, StateResetCommand
from forkpolicy.state import keys
from forkpolicy.state.questions.listed import Forget, Listed, Remember

if TYPE_CHECKING:
    from forkpolicy.state.store import Store


def change(store: Store, command: StateResetCommand | StateRememberCommand | StateForgetCommand) -> int:
    """Do it; how many records that has changed. Raises StateError."""
    match command:
        case StateResetCommand(name, key):
            return sum(store.reset(keys.prefix(kind, name, key)) for kind in keys.KINDS)
        case StateRememberCommand(name, key, duration_s):
            store.ask(Remember(name, key, duration_s))
            return 1
        case StateForgetCommand(name, key):
            was_there = store.peek(Listed(name, key)).until_s is not None
            store.ask(Forget(name, key))
            return int(was_there)
        case _:
            assert_never(command)
