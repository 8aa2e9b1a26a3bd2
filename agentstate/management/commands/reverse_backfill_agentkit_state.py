"""Seed the legacy columns again from the newest snapshots."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agentstate.backfill import PassOptions
from agentstate.management.passes import BackfillCommand, make_selection, moment
from agentstate.models.passes import Direction


class Command(BackfillCommand):
    help = (
        "Writes the newest snapshot of every project that is agentkit_ahead into the legacy columns. With --force, "
        "restores damaged columns from the newest snapshot, or from the state at a time. Safe to interrupt, to kill "
        "and to repeat."
    )
    direction = Direction.REVERSE
    did = "seeded"
    forks_call_for = "Merge them with manage.py backfill_agentkit_state first, or settle them with --prefer."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--no-sessions",
            action="store_false",
            dest="sessions",
            help="Taken so that both commands have the same options: this one never touches chats or sessions.",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="Restore whatever the standing: the present columns are kept first, then the newest snapshot goes "
            "into the columns and becomes a new snapshot. Needs --project or --all.",
        )
        parser.add_argument(
            "--as-of",
            type=moment,
            metavar="TIME",
            help="With --force: restore the state at this time (ISO 8601; UTC where it names no zone).",
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
        output: str,
        verbosity: int,
        **_: Any,
    ) -> None:
        if force and not (projects or everyone):
            raise CommandError("--force overwrites columns: name the projects with --project, or say --all.")
        if force and prefer:
            raise CommandError("--force restores snapshots and --prefer settles forks: run one, then the other.")
        if as_of and not force:
            raise CommandError("--as-of says which state --force restores: give both.")
        options = PassOptions(
            direction=self.direction,
            selection=make_selection(projects, limit),
            dry_run=dry_run,
            batch_size=batch_size,
            workers=workers,
            prefer=prefer,
            force=force,
            as_of=as_of,
        )
        self.run(options, everyone=everyone, output=output, verbosity=verbosity)
