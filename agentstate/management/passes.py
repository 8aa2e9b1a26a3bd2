"""What the two backfill commands have in common: options, progress, summary, exit codes."""

from __future__ import annotations

import json
import shlex
import signal
import threading
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from agentstate.backfill import Outcome, PassOptions, Progress, Selection, run_pass
from agentstate.management.base import OperatorCommand
from agentstate.management.errors import INTERRUPTED, operator_errors
from agentstate.management.progress import ProgressReport
from agentstate.management.text import counted, named, stream_of
from agentstate.models.passes import Direction

MOST_WORKERS = 32
NAMED = 10


def positive(text: str) -> int:
    """Parse a whole number from 1 on."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return number


def workers(text: str) -> int:
    """Parse a number of connections."""
    number = positive(text)
    if number > MOST_WORKERS:
        raise ArgumentTypeError(f"{number} connections are more than {MOST_WORKERS}, the most that a pass takes")
    return number


def moment(text: str) -> datetime:
    """Parse an ISO 8601 date and time; UTC where it names no zone."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a time such as 2025-10-07T17:55:00Z") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


class BackfillCommand(OperatorCommand):
    """A command that runs one pass."""

    direction: ClassVar[Direction]
    did: ClassVar[str]
    forks_call_for: ClassVar[str]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="Show what would be written; change nothing at all."
        )
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--project", action="append", dest="projects", metavar="ID", help="Only this project. Can be repeated."
        )
        which.add_argument(
            "--all", action="store_true", dest="everyone", help="All projects, for options that ask for it."
        )
        parser.add_argument(
            "--batch-size", type=positive, default=1000, metavar="N", help="Projects in a transaction (default: 1000)."
        )
        parser.add_argument(
            "--workers", type=workers, default=1, metavar="N", help="Connections that work side by side (default: 1)."
        )
        parser.add_argument("--limit", type=positive, metavar="N", help="Move at most N projects in each step.")
        parser.add_argument(
            "--prefer",
            choices=["legacy", "agentkit"],
            help="Settle forked and unequal projects: where both homes changed the same document differently, take "
            "this home's, and keep the other's in the history. Needs --project or --all.",
        )
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", dest="output", help="Summary as text or JSON."
        )

    def run(self, options: PassOptions, *, everyone: bool, output: str, verbosity: int) -> None:
        """Run the pass, print its summary, and exit with 1 if a project was left aside, 130 if interrupted.

        Raises:
            CommandError: the pass could not start.
        """
        if options.prefer and not (options.selection.projects or everyone):
            raise CommandError(
                f"--prefer {options.prefer} decides for each project that it settles: name them with --project, or "
                "say --all."
            )
        with (
            operator_errors(),
            stopped_by_signals() as stop,
            ProgressReport(stream_of(self.stderr), verbosity) as report,
        ):

            def show(progress: Progress) -> None:
                if options.force and not options.dry_run and not progress.done:
                    report.say(f"Restoring {counted(progress.total, 'project')}.")
                report(progress)

            outcome = run_pass(options, progress=show, stop=stop)
        if output == "json":
            self.stdout.write(json.dumps(as_json(options, outcome)))
        else:
            self._write_summary(options, outcome)
        if outcome.stopped:
            raise SystemExit(INTERRUPTED)
        if outcome.left_aside and not options.dry_run:
            raise SystemExit(1)

    def _write_summary(self, options: PassOptions, outcome: Outcome) -> None:
        counts = outcome.counts
        would = "would be " if options.dry_run else ""
        parts = [f"{counts.written:,} of {counted(outcome.candidates, 'project')} {would}{self.did}"]
        if counts.merged:
            parts.append(f"{counts.merged:,} {would}merged")
        parts += [counted(counts.runs, "run"), counted(counts.events, "event"), counted(counts.sessions, "session")]
        parts.append(f"{counts.size:,} bytes before compression" if options.dry_run else f"{outcome.seconds:.1f} s")
        self.stdout.write(", ".join(parts) + ".")
        self._write_left(options, outcome)
        if options.dry_run:
            self.stdout.write("A dry run: nothing was changed.")
        if outcome.stopped:
            self.stdout.write("Interrupted after the batch under way. Run the command again to go on.")

    def _write_left(self, options: PassOptions, outcome: Outcome) -> None:
        """Name what was not moved, and the way out."""
        failures = outcome.failures
        if outcome.accepted:
            count = len(outcome.accepted)
            self.stdout.write(f"{count:,} accepted as not moved: see manage.py agentkit_left_aside list.")
        if failures:
            would = "would be " if options.dry_run else ""
            self.stdout.write(self.style.ERROR(f"{counted(outcome.left_aside, 'project')} {would}left aside:"))
            for failure in failures[:NAMED]:
                self.stdout.write(f"  {shlex.quote(failure.project)}: {failure.error_class}: {failure.error}")
            if len(failures) > NAMED:
                self.stdout.write("  … and more: --format json lists them all, as does the admin under Left aside.")
        count, ids = outcome.forked
        if count:
            self.stdout.write(
                self.style.WARNING(f"{counted(count, 'project')} forked: {named(count, ids)}. {self.forks_call_for}")
            )
        count, ids = outcome.without_snapshot
        if count:
            self.stdout.write(
                f"{counted(count, 'project')} left alone, without an earlier snapshot: {named(count, ids)}."
            )


def as_json(options: PassOptions, outcome: Outcome) -> dict[str, Any]:
    """Return the summary as the one object that ``--format json`` prints."""
    counts = outcome.counts
    accepted = {"accepted": len(outcome.accepted)} if outcome.accepted else {}
    return {
        "direction": options.direction.value,
        "dry_run": options.dry_run,
        "candidates": outcome.candidates,
        "written": counts.written,
        "merged": counts.merged,
        "left_aside": outcome.left_aside,
        **accepted,
        "runs": counts.runs,
        "events": counts.events,
        "sessions": counts.sessions,
        "seconds": round(outcome.seconds, 3),
        "failures": [{"project": failure.project, "error": failure.error} for failure in outcome.failures],
    }


def make_selection(projects: list[str] | None, limit: int | None) -> Selection:
    """Return the selection that the options name."""
    return Selection(tuple(dict.fromkeys(projects or ())), limit)


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into a wish to stop; a second one acts as ever."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        for number in before:
            signal.signal(number, ask)
    try:
        yield stop
    finally:
        if in_main_thread:
            for number, handler in before.items():
                signal.signal(number, handler)
