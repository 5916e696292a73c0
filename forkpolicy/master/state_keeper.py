"""The state process while the policy remembers: started before the first worker, started again when it dies, ended with
the last worker or with the policy's last ACL that remembers.

Workers need it once, to make the live map. While it is away they go on, and what they remember is on no disk. Knows no
LMDB and no policy. Raises nothing but in `start_first`; later faults are logged and tried again.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections import deque
from typing import TYPE_CHECKING, assert_never

from forkpolicy.control_messages import ErrorReply, StateReply, StateWalkReply
from forkpolicy.errors import ForkpolicyError
from forkpolicy.link import InvalidMessageError
from forkpolicy.master.processes.backoff import Backoff
from forkpolicy.master.processes.state_process import START_TIMEOUT_S, WRITE_AFTER_MASTER_S, StateProcess
from forkpolicy.master.processes.waitpid import describe_exit, kill
from forkpolicy.master.sockets.loop import READ, WRITE
from forkpolicy.redis_urls import parse_url
from forkpolicy.state_messages import StateDone, StateReady, StateRefused, StateReport, StateWalked
from forkpolicy.state_settings import EMBEDDED
from forkpolicy.status import HelperStatus, StateFigures, StateStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.control_messages import StateCommand
    from forkpolicy.log import LogPipe
    from forkpolicy.master.processes.state_process import StateProgram
    from forkpolicy.master.sockets.loop import Loop
    from forkpolicy.master.state_lock import StateLock
    from forkpolicy.state_messages import FromState
    from forkpolicy.state_settings import StateSettings
    from forkpolicy.status import AskedStatus

    OnDone = Callable[[StateReply | StateWalkReply | ErrorReply], None]

# One that has lived so long was started well.
MIN_LIFETIME_S = 2.0
LONGEST_DELAY_S = 30.0
# More commands than that wait for a process that does not answer.
MAX_WAITING = 64


class StateStartError(ForkpolicyError):
    """The state process cannot work; `exit_code` is its own."""

    def __init__(self, refused: StateRefused) -> None:
        super().__init__(refused.reason)
        self.exit_code = refused.exit_code


class StateKeeper:
    """The master's part that has it. `lock`: of the maps, held while the policy remembers.

    With an engine there are no maps: then nothing is ever started, and only `describe` has something to say.
    """

    def __init__(self, program: StateProgram, lock: StateLock, settings: StateSettings, log: LogPipe) -> None:
        self.lock = lock
        self._program = program
        self._settings = settings
        self._log = log
        self._loop: Loop | None = None
        self._has_maps = settings.url == EMBEDDED
        self._remembers = self._wanted = False
        self._process: StateProcess | None = None
        self._refused = ""
        self._backoff = Backoff()
        self._figures = StateFigures()
        self._on_begun: Callable[[str], None] | None = None
        self._waiting: deque[OnDone] = deque()
        self._ended, self._how = 0, ""

    @property
    def pid(self) -> int:
        """Of the process; 0 while there is none."""
        return self._process.pid if self._process else 0

    def start_first(self) -> None:
        """Start it and wait until it is ready: before the first worker. Raises ForkpolicyError."""
        self._remembers, self._wanted = True, self._has_maps
        if not self._has_maps:
            self.lock.release()
            return
        self._program.prepare()
        self.lock.take()
        try:
            self._process = StateProcess(self._program, self._report_bug)
        except OSError as error:
            raise StateStartError(StateRefused(1, f"the state process was not started: {error.strerror}")) from error
        refused = self._process.wait_ready()
        if refused:
            kill(self._process.pid, signal.SIGKILL)
            raise StateStartError(refused)

    def listen(self, loop: Loop) -> None:
        """Take its messages from now on."""
        self._loop = loop
        if self._process:
            self._register(self._process)

    def begin(self, on_begun: Callable[[str], None]) -> None:
        """Have it, for a policy that is about to serve; `on_begun` is called with "" once workers may open the map, or
        with why they cannot.
        """
        if not self._has_maps or (self._wanted and self._on_begun is None):
            # Its map is there, also while the process is not.
            on_begun("")
            return
        self._wanted, self._on_begun = True, on_begun
        self._backoff.served()
        self.tick(time.monotonic())

    def want(self, *, wanted: bool) -> None:
        """Whether the policy that serves remembers; if not, the process writes what it has and ends."""
        self._remembers, self._wanted, self._on_begun = wanted, wanted and self._has_maps, None
        if not self._wanted and self._process:
            self._process.finish()
        elif not self._wanted:
            self.lock.release()

    def tick(self, now_s: float) -> None:
        """Start one that is missing; end one that does not get ready."""
        process = self._process
        if process is None and self._wanted and self._backoff.wait_s(now_s) == 0:
            self._start(now_s)
        elif process and not process.ready and now_s - process.started_s > START_TIMEOUT_S:
            self._refused = f"it was not ready within {START_TIMEOUT_S:g} s"
            kill(process.pid, signal.SIGKILL)

    def _start(self, now_s: float) -> None:
        self._refused = ""
        try:
            self._program.prepare()
            self.lock.take()
            self._process = StateProcess(self._program, self._report_bug)
        except (OSError, ForkpolicyError) as error:
            self._failed(str(getattr(error, "strerror", "") or error), now_s)
        else:
            self._register(self._process)

    def _register(self, process: StateProcess) -> None:
        assert self._loop
        self._loop.register(process, lambda events: self._on_event(process, events))

    def _failed(self, reason: str, now_s: float) -> None:
        """It could not be started, or has died."""
        if self._on_begun:
            # A reload waits for it, and is refused.
            on_begun = self._on_begun
            self.want(wanted=False)
            on_begun(reason)
        elif self._wanted:
            delay_s = self._backoff.failed_start(now_s, LONGEST_DELAY_S)
            hint = "workers go on; what they remember is not kept on disk meanwhile"
            self._log.event("error", "state process ended", reason=reason, next_try_s=delay_s, hint=hint)

    def _report_bug(self, trace: str) -> None:
        """In the process, when it ends with a bug: log it."""
        self._log.named(process="state", pid=os.getpid()).event("critical", "bug", traceback=trace)

    def _on_event(self, process: StateProcess, events: int) -> None:
        if process is not self._process or self._loop is None:
            return
        if events & WRITE:
            process.flush()
            self._loop.watch_writable(process)
        if events & READ and not self._handle_messages(process):
            self._loop.unregister(process)

    def _handle_messages(self, process: StateProcess) -> bool:
        """Take its messages; False after the last one."""
        try:
            messages = process.receive()
            for message in messages or ():
                self._handle(process, message)
        except InvalidMessageError as error:
            self._log.event("critical", "invalid message from state process", reason=str(error), action="kill")
            kill(process.pid, signal.SIGKILL)
            return False
        return messages is not None

    def _handle(self, process: StateProcess, message: FromState) -> None:
        match message:
            case StateReady():
                process.ready = True
                self._log.event("info", "state process ready", state_pid=process.pid)
                if self._on_begun:
                    on_begun, self._on_begun = self._on_begun, None
                    on_begun("")
            case StateRefused(reason=reason):
                self._refused = reason
            case StateReport(figures):
                self._figures = figures
            case StateDone(changed, error):
                if self._waiting:
                    reply = ErrorReply(ok=False, error=error) if error else StateReply(ok=True, changed=changed)
                    self._waiting.popleft()(reply)
            case StateWalked(records, now_s):
                if self._waiting:
                    self._waiting.popleft()(StateWalkReply(ok=True, records=records, now_s=now_s))
            case _:
                assert_never(message)

    def on_exit(self, pid: int, status: int) -> bool:
        """Note its exit. False: it was another process."""
        process = self._process
        if process is None or pid != process.pid:
            return False
        if self._loop:
            # Its last message may have come after this turn's were taken.
            self._handle_messages(process)
            self._loop.unregister(process)
        self._process = None
        process.close()
        self._answer_all("the state process died: whether it has done that is not known")
        now_s = time.monotonic()
        if process.ready and now_s - process.started_s > MIN_LIFETIME_S:
            self._backoff.served()
        if not self._wanted:
            self.lock.release()
        elif process.finishing:
            # The policy has stopped remembering for a moment.
            self.tick(now_s)
        else:
            self._ended, self._how = self._ended + 1, describe_exit(status)
            self._failed(self._refused or f"it died: {self._how}", now_s)
        return True

    def command(self, command: StateCommand, on_done: OnDone) -> None:
        """Pass a command on; `on_done` is called with the answer."""
        process = self._process
        if self._remembers and not self._has_maps:
            on_done(ErrorReply(ok=False, error="an engine is asked directly, not through the server"))
        elif not self._wanted:
            on_done(ErrorReply(ok=False, error="the policy remembers nothing"))
        elif process is None or not process.ready or len(self._waiting) >= MAX_WAITING:
            on_done(ErrorReply(ok=False, error="the state process does not answer: the log says why"))
        else:
            self._waiting.append(on_done)
            process.send(command)
            assert self._loop
            self._loop.watch_writable(process)

    def _answer_all(self, error: str) -> None:
        while self._waiting:
            self._waiting.popleft()(ErrorReply(ok=False, error=error))

    def describe(self, asked: Sequence[AskedStatus]) -> StateStatus | None:
        """For `status`; None while the policy remembers nothing. `asked`: by the workers, who alone know an engine."""
        if not self._remembers:
            return None
        if not self._has_maps:
            figures = next((each.engine for each in asked if each.engine), StateFigures())
            up = all(each.is_up for each in asked)
            return StateStatus("", "", up, figures, engine=str(parse_url(self._settings.url)))
        saved_ns = self._figures.saved_ns
        age_s = round((time.monotonic_ns() - saved_ns) / 1e9, 1) if saved_ns else None
        up = bool(self._process and self._process.ready)
        return StateStatus(self._settings.live, self._settings.kept, up, self._figures, age_s)

    def describe_process(self) -> tuple[HelperStatus, ...]:
        """The process among the helper processes of `status`."""
        return (HelperStatus("state", self.pid, self._ended, self._how),) if self._wanted else ()

    def end(self) -> None:
        """Have it write what it has, and wait for that, but not for a disk that hangs: the last worker has ended."""
        process, self._process = self._process, None
        self._remembers = self._wanted = False
        if process:
            process.finish()
            until_s = time.monotonic() + WRITE_AFTER_MASTER_S
            poller = select.poll()
            poller.register(process, select.POLLIN)
            while (left_s := until_s - time.monotonic()) > 0 and poller.poll(left_s * 1000):
                with contextlib.suppress(InvalidMessageError):
                    if process.receive() is None:
                        break
            else:
                self._log.event(
                    "error", "state process ended", reason="it did not write its last in time, and was killed"
                )
                kill(process.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, 0)
            process.close()
        self.lock.release()
