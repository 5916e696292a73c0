"""One line with a bar, drawn by rich and taken away at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from typing import TextIO

    from rich.progress import Task

WIDTH = 30


class _Words(TextColumn):
    """What is counted, as it is: names of tables are not markup."""

    def render(self, task: Task) -> Text:
        return Text(str(task.fields["words"]))


class Bar:
    """On a stream that is a terminal. The first draw takes the cursor's line."""

    def __init__(self, stream: TextIO, label: str) -> None:
        console = Console(file=stream, highlight=False)
        columns = (TextColumn(label, markup=False), BarColumn(WIDTH), TaskProgressColumn(), _Words(""))
        self._progress = Progress(
            *columns,
            console=console,
            transient=True,
            auto_refresh=False,  # no thread: its callers fork
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._total = 0
        self._task = self._progress.add_task("", total=None, words="")
        self._progress.start()

    def draw(self, done: int, total: int, words: str) -> None:
        """Show the share, where there is a total, and the words behind it."""
        if total != self._total:
            # A task keeps the total that it has had: there is no way back to none.
            self._progress.remove_task(self._task)
            self._total, self._task = total, self._progress.add_task("", total=total or None, words="")
        self._progress.update(self._task, completed=min(done, total), words=words)
        self._progress.refresh()

    def close(self) -> None:
        """Take the line away."""
        self._progress.stop()
