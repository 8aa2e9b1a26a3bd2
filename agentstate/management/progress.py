"""The progress of a pass on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from agentstate.backfill import Progress

LINE_EVERY = 3.0  # seconds


class RateColumn(ProgressColumn):
    """Projects a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="progress.data.speed")


class ProgressReport:
    """Shows progress within the ``with`` block. Shows nothing at verbosity 0."""

    def __init__(self, stream: TextIO, verbosity: int) -> None:
        self._stream = stream
        self._silent = verbosity == 0
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._step, self._started, self._shown_at = "", 0.0, 0.0
        self._last: Progress | None = None
        if not self._silent and stream.isatty():
            self._bars = Bars(
                TextColumn("{task.description:<10}"),
                BarColumn(),
                MofNCompleteColumn(),
                RateColumn(),
                TextColumn("{task.fields[left]}"),
                console=Console(file=stream),
            )

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        if self._silent or not progress.total:
            return
        if self._bars:
            if progress.step not in self._tasks:
                self._tasks[progress.step] = self._bars.add_task(progress.step, total=progress.total, left="")
            self._bars.update(self._tasks[progress.step], completed=progress.done)
            left = f"{in_range(progress.left)} to go" if progress.left and progress.done < progress.total else ""
            self._bars.update(self._tasks[progress.step], left=progress.held or left)
        else:
            self._show_line(progress)

    def say(self, line: str) -> None:
        """Write a line, above the bar if there is one."""
        if self._bars:
            self._bars.console.print(Text(line))
        elif not self._silent:
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def _show_line(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.step != self._step:
            self._step, self._started, self._shown_at = progress.step, now, now
        is_due = now - self._shown_at >= LINE_EVERY or (progress.done == progress.total and not progress.held)
        if not is_due or progress == self._last:
            return
        self._last = progress
        self._shown_at, elapsed = now, now - self._started
        line = f"{progress.step}: {progress.done:,} of {progress.total:,}"
        if progress.done and elapsed > 0:
            line += f", {progress.done / elapsed:,.0f}/s"
        if progress.left and progress.done < progress.total:
            line += f", {in_range(progress.left)} to go"
        if progress.held:
            line += f"; waits: {progress.held}"
        self.say(line)


def in_range(seconds: tuple[float, float]) -> str:
    """Return a range of seconds in words, such as ``12 s`` or ``2-3 min`` with a dash."""
    for length, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds[1] >= 2 * length or length == 1:
            low, high = (f"{each / length:.0f}" for each in seconds)
            return f"{low} {unit}" if low == high else f"{low}\N{EN DASH}{high} {unit}"
    raise AssertionError("the last unit is a second")
