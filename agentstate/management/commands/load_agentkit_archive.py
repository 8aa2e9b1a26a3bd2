"""Put back the runs and events of an archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.management.text import counted
from agentstate.retention import BrokenArchive, load_archive

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(OperatorCommand):
    help = (
        "Puts back the runs and events of an archive that prune_agentkit_history wrote, exactly as they were. Skips "
        "rows that are there already, so it can be repeated."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("archive", type=Path, help="The file.")

    def handle(self, *, archive: Path, **_: Any) -> None:
        with operator_errors():
            try:
                loaded = load_archive(archive)
            except BrokenArchive as error:
                raise CommandError(f"{error} Batches before this point were loaded.") from error
            except OSError as error:
                raise CommandError(
                    f"The file cannot be read: {error}. Batches before this point were loaded."
                ) from error
        self.stdout.write(f"{counted(loaded.runs, 'run')} and {counted(loaded.events, 'event')} loaded.")
        if loaded.present:
            self.stdout.write(f"{counted(loaded.present, 'row')} skipped: already there, or without their run.")
        if loaded.cut_short:
            self.stdout.write(
                "The file ends within a batch. The pruning was killed while it wrote that batch and did not delete it."
            )
