"""Write the newest snapshots back into the legacy columns."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agentstate.backfill import Pacing, PassOptions
from agentstate.management.arguments import moment
from agentstate.management.backfill_command import BackfillCommand, make_selection
from agentstate.models.passes import Direction


class Command(BackfillCommand):
    help = (
        "Writes the newest snapshot of every project that is agentkit_ahead into the legacy columns. With --force, "
        "restores damaged columns from the newest snapshot, or from the state at a given time. Safe to interrupt, to "
        "kill and to repeat."
    )
    direction = Direction.REVERSE
    did = "written back"
    forks_call_for = "Run manage.py backfill_agentkit_state to merge them, or use --prefer to settle them."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--no-sessions",
            action="store_false",
            dest="sessions",
            help="Accepted because the forward command has it. This command never touches chats or sessions.",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="Restore projects of any standing: the columns are backed up as a run, then the newest snapshot is "
            "written into the columns and becomes a new snapshot. Requires --project or --all.",
        )
        parser.add_argument(
            "--as-of",
            type=moment,
            metavar="TIME",
            help="With --force: restore the state at this time (ISO 8601, UTC without a zone).",
        )

    def handle(
        self,
        *,
        dry_run: bool,
        projects: list[str] | None,
        everyone: bool,
        batch_size: int,
        workers: int,
        limit: int | None,
        prefer: str | None,
        force: bool,
        as_of: datetime | None,
        target_seconds: float,
        sleep_ratio: float,
        max_lag: float | None,
        output: str,
        verbosity: int,
        **_: Any,
    ) -> None:
        if force and not (projects or everyone):
            raise CommandError("--force overwrites columns. Name the projects with --project, or use --all.")
        if force and prefer:
            raise CommandError("--force restores snapshots and --prefer settles forks. Run one, then the other.")
        if as_of and not force:
            raise CommandError("--as-of names the state that --force restores. Use both.")
        options = PassOptions(
            direction=self.direction,
            selection=make_selection(projects, limit),
            dry_run=dry_run,
            batch_size=batch_size,
            workers=workers,
            pacing=Pacing(target_seconds, sleep_ratio, max_lag),
            prefer=prefer,
            force=force,
            as_of=as_of,
        )
        self.run(options, everyone=everyone, output=output, verbosity=verbosity)
