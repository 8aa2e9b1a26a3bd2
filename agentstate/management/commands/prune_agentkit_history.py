"""Delete old runs and events that nothing needs any more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone

from agentstate.management.arguments import duration, positive
from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.management.interrupts import INTERRUPTED, stopped_by_signals
from agentstate.management.text import counted, print_table, stream_of
from agentstate.retention import PruneOptions, prune

if TYPE_CHECKING:
    from datetime import timedelta

    from django.core.management.base import CommandParser

    from agentstate.retention import Pruned


class Command(OperatorCommand):
    help = (
        "Deletes finished runs that ended longer ago than a given time, with their events. Keeps what a project's "
        "state, its history since then, a fork or the rollout needs (docs/retention.md). Works in batches; if it was "
        "interrupted, run it again to continue."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", type=duration, required=True, metavar="TIME", help="How long ago a run ended: 12h, 90d."
        )
        parser.add_argument(
            "--keep-last",
            type=positive,
            default=0,
            metavar="N",
            help="Keep the N newest runs of each project and workflow, however old they are.",
        )
        parser.add_argument("--workflow", metavar="W", help="Only runs of this workflow.")
        parser.add_argument(
            "--events-only",
            action="store_true",
            help="Keep the runs and the events that replay needs; delete all other events.",
        )
        parser.add_argument(
            "--archive", type=Path, metavar="DIR", help="First write what is deleted to a file in this folder."
        )
        parser.add_argument(
            "--batch-size", type=positive, default=200, metavar="N", help="Runs in one transaction. Default: 200."
        )
        parser.add_argument("--dry-run", action="store_true", help="Count what would be deleted. Delete nothing.")

    def handle(self, *, older_than: timedelta, **options: Any) -> None:
        names = ("keep_last", "workflow", "events_only", "archive", "batch_size", "dry_run")
        chosen = PruneOptions(timezone.now() - older_than, **{name: options[name] for name in names})
        with operator_errors(), stopped_by_signals() as stop:
            try:
                pruned = prune(chosen, stop=stop)
            except OSError as error:
                raise CommandError(
                    f"The archive cannot be written: {error}. The batch was not deleted. Make room or name another "
                    "folder, then run the command again."
                ) from error
        self._write(chosen, pruned)
        if pruned.stopped:
            how = f"Canceled by {pruned.canceled_by}" if pruned.canceled_by else "Interrupted"
            raise CommandError(
                f"{how}. What was deleted stays deleted. Run the command again to continue.",
                returncode=INTERRUPTED,
            )

    def _write(self, options: PruneOptions, pruned: Pruned) -> None:
        rows = [(workflow, runs, pruned.events[workflow]) for workflow, runs in pruned.runs.most_common()]
        if rows:
            title = "Would be deleted" if options.dry_run else "Deleted"
            runs = "runs without events" if options.events_only else "runs"
            print_table(stream_of(self.stdout), title, ["workflow", runs, "events"], rows)
        what = f"{counted(pruned.events.total(), 'event')}"
        if not options.events_only:
            what = f"{counted(pruned.runs.total(), 'run')} and {what}"
        done = "would be deleted" if options.dry_run else "deleted"
        self.stdout.write(f"{what} {done} ({pruned.size / 1e6:,.1f} MB of rows) in {pruned.seconds:.1f} s.")
        if not (options.events_only or pruned.stopped) and (kept := pruned.looked_at - pruned.runs.total()):
            self.stdout.write(f"Kept: {counted(kept, 'other run')} of that age. docs/retention.md says why.")
        if pruned.archive:
            self.stdout.write(f"Archive: {pruned.archive}")
