"""Write the files of a sample request for proposals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentstate.management.base import OperatorCommand
from agentstate.samples.call import sample_call

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(OperatorCommand):
    help = "Writes a sample request for proposals, a call, an addendum and a FAQ, for manage.py ingest_rfp to read."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="Where to write the files; created if it does not exist.")

    def handle(self, *, folder: Path, **_: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in sample_call().items():
            (folder / name).write_bytes(content)
            self.stdout.write(str(folder / name))
