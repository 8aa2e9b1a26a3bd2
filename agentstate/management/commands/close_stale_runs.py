"""Close the runs whose process died."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from agentstate.management.arguments import duration
from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.management.text import counted
from agentstate.recording import close_stale_runs

if TYPE_CHECKING:
    from datetime import timedelta

    from django.core.management.base import CommandParser

NAMED = 100


class Command(OperatorCommand):
    help = (
        "Marks as failed each running run without a sign of life, an event or a heartbeat, for longer than a given "
        "time: its process is assumed dead. A later event of such a run is recorded and marked as late. Pending runs, "
        "which wait for a person, are not touched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=duration,
            required=True,
            metavar="TIME",
            help="How long a run may be silent: 90s, 30m, 1h, 2d.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Name the runs. Change nothing.")

    def handle(self, *, older_than: timedelta, dry_run: bool, **_: Any) -> None:
        with operator_errors():
            stale = close_stale_runs(older_than, dry_run=dry_run)
        for run in stale[:NAMED]:
            project = "no project" if run.project_id is None else f"project {shlex.quote(run.project_id)}"
            last_sign = f"{run.last_sign:%Y-%m-%d %H:%M:%S} UTC"
            self.stdout.write(
                f"{shlex.quote(run.run_id)}: {run.workflow_id}, {project}, last sign of life {last_sign}"
            )
        if len(stale) > NAMED:
            self.stdout.write(f"… and {len(stale) - NAMED:,} more.")
        would = "would be " if dry_run else ""
        self.stdout.write(f"{counted(len(stale), 'run')} {would}closed as stale.")
