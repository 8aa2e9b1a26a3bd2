"""The progress of a pass on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from agentstate.backfill import Progress

LINE_EVERY = 3.0  # seconds


class ProgressReport:
    """Shows progress within the ``with`` block. Shows nothing at verbosity 0."""

    def __init__(self, stream: TextIO, verbosity: int) -> None:
        self._stream = stream
        self._silent = verbosity == 0
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._step, self._started, self._throttled_before, self._shown_at = "", 0.0, 0.0, 0.0
        self._shown = "", 0, ""
        if not self._silent and stream.isatty():
            self._bars = Bars(
                TextColumn("{task.description:<10}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}", style="progress.data.speed"),
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
        if progress.step != self._step:
            self._step, self._throttled_before = progress.step, progress.throttled
            self._started = self._shown_at = time.monotonic()
        if self._bars:
            if progress.step not in self._tasks:
                self._tasks[progress.step] = self._bars.add_task(progress.step, total=progress.total, rate="", left="")
            self._bars.update(
                self._tasks[progress.step],
                completed=progress.done,
                rate=self._rate(progress),
                left=progress.held or _left(progress),
            )
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
        news = progress.step, progress.done, progress.held
        is_due = time.monotonic() - self._shown_at >= LINE_EVERY or (
            progress.done == progress.total and not progress.held
        )
        if not is_due or news == self._shown:
            return
        parts = [f"{progress.step}: {progress.done:,} of {progress.total:,}", self._rate(progress), _left(progress)]
        line = ", ".join(part for part in parts if part)
        if progress.held:
            line += f"; waits: {progress.held}"
        self._shown, self._shown_at = news, time.monotonic()
        self.say(line)

    def _rate(self, progress: Progress) -> str:
        """Return the projects a second of this step, without the time that the pass waited for others."""
        worked = time.monotonic() - self._started - (progress.throttled - self._throttled_before)
        return f"{progress.done / worked:,.0f}/s" if progress.done and worked > 0 else ""


def _left(progress: Progress) -> str:
    return f"{in_range(progress.left)} to go" if progress.left and progress.done < progress.total else ""


def in_range(seconds: tuple[float, float]) -> str:
    """Return a range of seconds in words: ``12 s``, ``2-3 min`` or ``50 s - 2 min``, with dashes."""
    (low, unit), (high, longer) = map(_rounded, seconds)
    if unit != longer:
        return f"{low} {unit} \N{EN DASH} {high} {longer}"
    return f"{low} {unit}" if low == high else f"{low}\N{EN DASH}{high} {unit}"


def _rounded(seconds: float) -> tuple[str, str]:
    """Return a time in the longest unit that it is at least two of, and the unit."""
    length, unit = next((each for each in ((3600, "h"), (60, "min")) if seconds >= 2 * each[0]), (1, "s"))
    return f"{seconds / length:.0f}", unit
