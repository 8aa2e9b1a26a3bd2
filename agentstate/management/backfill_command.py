"""What the two backfill commands share: options, progress, summary, exit codes."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.management.base import CommandError

from agentstate.backfill import Outcome, PassOptions, Progress, Selection, run_pass
from agentstate.management.arguments import positive, workers
from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.management.expectation import afterwards, before
from agentstate.management.interrupts import INTERRUPTED, stopped_by_signals
from agentstate.management.pacing import add_pacing
from agentstate.management.progress import ProgressReport
from agentstate.management.text import counted, named, stream_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from agentstate.backfill.expectation import Expectation
    from agentstate.models.passes import Direction

# How many failures the text and the JSON name.
NAMED, NAMED_IN_JSON = 10, 1000


class BackfillCommand(OperatorCommand):
    """A command that runs one pass."""

    direction: ClassVar[Direction]
    did: ClassVar[str]
    forks_call_for: ClassVar[str]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Show what would be written. Change nothing.")
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--project", action="append", dest="projects", metavar="ID", help="Only this project. Repeatable."
        )
        which.add_argument(
            "--all", action="store_true", dest="everyone", help="All projects, for options that require a choice."
        )
        parser.add_argument(
            "--batch-size",
            type=positive,
            default=PassOptions.batch_size,
            metavar="N",
            help=f"At most N projects in one transaction (default: {PassOptions.batch_size}).",
        )
        add_pacing(parser, defaults=True)
        parser.add_argument(
            "--workers", type=workers, default=1, metavar="N", help="Parallel connections (default: 1)."
        )
        parser.add_argument("--limit", type=positive, metavar="N", help="Move at most N projects in each step.")
        parser.add_argument(
            "--prefer",
            choices=["legacy", "agentkit"],
            help="Settle forked and unequal projects: where both homes changed the same document differently, this "
            "home's document wins. The other's stays in the history. Requires --project or --all.",
        )
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", dest="output", help="Summary as text or JSON."
        )

    def run(self, options: PassOptions, *, everyone: bool, output: str, verbosity: int) -> None:
        """Run the pass, print its summary, and exit with 1 if a project was left aside, 130 if interrupted.

        Raises:
            CommandError: the pass could not start, or the server failed.
        """
        self.refuse_undecided(options, everyone=everyone)
        report = ProgressReport(stream_of(self.stderr), verbosity)
        with operator_errors(), stopped_by_signals() as stop, report:

            def show(progress: Progress) -> None:
                if options.force and not options.dry_run and not progress.done:
                    report.say(f"Restoring {counted(progress.total, 'project')}.")
                report(progress)

            def announce(expected: Expectation) -> None:
                if not expected.is_nothing:
                    report.say(before(expected))

            outcome = run_pass(options, progress=show, stop=stop, announce=announce)
            if outcome.expected and not outcome.expected.is_nothing:
                report.say(afterwards(outcome.expected, outcome.counts))
        if output == "json":
            self.stdout.write(json.dumps(as_json(options, outcome)))
        else:
            self._write_summary(options, outcome)
        if outcome.stopped:
            raise SystemExit(INTERRUPTED)
        if outcome.left_aside and not options.dry_run:
            raise SystemExit(1)

    def refuse_undecided(self, options: PassOptions, *, everyone: bool) -> None:
        """Check that whoever lets one home win says for which projects.

        Raises:
            CommandError: they do not.
        """
        if options.prefer and not (options.selection.projects or everyone):
            raise CommandError(
                f"--prefer {options.prefer} decides for each project that it settles. Name them with --project, or "
                "use --all."
            )

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
            self.stdout.write("Dry run: nothing was changed.")
        if outcome.stopped:
            how = f"Canceled by {outcome.canceled_by}" if outcome.canceled_by else "Interrupted"
            self.stdout.write(f"{how}. Run the command again to continue.")

    def _write_left(self, options: PassOptions, outcome: Outcome) -> None:
        """Name what was not moved, and the next command."""
        failures = outcome.failures
        if outcome.accepted:
            self.stdout.write(excluded(len(outcome.accepted)))
        if failures:
            would = "would be " if options.dry_run else ""
            self.stdout.write(self.style.ERROR(f"{counted(outcome.left_aside, 'project')} {would}left aside:"))
            for failure in failures[:NAMED]:
                self.stdout.write(f"  {shlex.quote(failure.project)}: {failure.error_class}: {failure.error}")
            if len(failures) > NAMED:
                self.stdout.write(
                    f"  … and {len(failures) - NAMED:,} more. Run manage.py agentkit_left_aside list to see them."
                )
        count, ids = outcome.forked
        if count:
            self.stdout.write(
                self.style.WARNING(f"{counted(count, 'project')} forked: {named(count, ids)}. {self.forks_call_for}")
            )
        count, ids = outcome.without_snapshot
        if count:
            self.stdout.write(f"{counted(count, 'project')} without an earlier snapshot: {named(count, ids)}.")


def excluded(count: int) -> str:
    """Return the line about projects that operators decided not to move."""
    return f"{count:,} excluded by decision. Run manage.py agentkit_left_aside list to see them."


def as_json(options: PassOptions, outcome: Outcome) -> dict[str, Any]:
    """Return the summary as the one object that ``--format json`` prints."""
    counts, failures = outcome.counts, outcome.failures
    summary: dict[str, Any] = {
        "direction": options.direction.value,
        "dry_run": options.dry_run,
        "candidates": outcome.candidates,
        "written": counts.written,
        "merged": counts.merged,
        "left_aside": outcome.left_aside,
        "runs": counts.runs,
        "events": counts.events,
        "sessions": counts.sessions,
        "seconds": round(outcome.seconds, 3),
        "failures": [{"project": failure.project, "error": failure.error} for failure in failures[:NAMED_IN_JSON]],
    }
    if outcome.throttled:
        summary["throttled_seconds"] = round(outcome.throttled, 3)
    if outcome.accepted:
        summary["accepted"] = len(outcome.accepted)
    if len(failures) > NAMED_IN_JSON:
        summary["more_failures"] = len(failures) - NAMED_IN_JSON
    return summary


def make_selection(projects: list[str] | None, limit: int | None) -> Selection:
    """Return the selection that the options name."""
    return Selection(tuple(dict.fromkeys(projects or ())), limit)
