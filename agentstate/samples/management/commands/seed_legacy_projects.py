"""Make sample projects in the legacy table."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from agentstate.management.base import OperatorCommand
from agentstate.samples import SamplesRefused, make_projects

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable

SECONDS_BETWEEN_LINES = 3
INTERRUPTED = 130


class Command(OperatorCommand):
    help = 'Makes sample rows in the legacy table "Project", all or none. The same random seed makes the same rows.'

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--count", type=int, required=True, metavar="N", help="How many rows to make.")
        parser.add_argument("--seed", type=int, default=1, metavar="S", help="Random seed (default: 1).")
        parser.add_argument("--append", action="store_true", help="Add to a table that already has rows.")

    def handle(self, *, count: int, seed: int, append: bool, verbosity: int, **options: Any) -> None:
        if count < 1:
            raise CommandError(f"--count is {count}, and must be at least 1.")
        started = time.monotonic()
        progress = self._progress_of(count) if verbosity else None
        try:
            made = make_projects(count, seed, append=append, progress=progress)
        except SamplesRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        except KeyboardInterrupt:
            raise CommandError("Interrupted: no row was made.", returncode=INTERRUPTED) from None
        self.stdout.write(f"Made {made:,} sample projects in {time.monotonic() - started:.1f} seconds.")

    def _progress_of(self, count: int) -> Callable[[int], None]:
        """Return a callable that writes a line every few seconds."""
        written = time.monotonic()

        def write(made: int) -> None:
            nonlocal written
            if made < count and time.monotonic() - written >= SECONDS_BETWEEN_LINES:
                written = time.monotonic()
                self.stderr.write(f"{made:,} of {count:,} rows", str)  # not styled as an error

        return write
