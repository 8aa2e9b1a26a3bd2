"""The options of a pruning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentstate.models.passes import PRUNING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class PruneOptions:
    """What a pruning deletes.

    Attributes:
        before: an aware datetime; only runs that ended before it are pruned.
        keep_last: how many runs of each project and workflow stay, the newest ones.
        workflow: only runs of this workflow.
        events_only: delete the events and keep the runs.
        archive: a folder to write what is deleted to.
        batch_size: how many runs one transaction deletes.
    """

    before: datetime
    keep_last: int = 0
    workflow: str | None = None
    events_only: bool = False
    archive: Path | None = None
    batch_size: int = 200
    dry_run: bool = False

    direction = PRUNING

    def as_json(self) -> dict[str, Any]:
        """Return the options as the ledger and an archive's manifest keep them."""
        return {
            "before": self.before.isoformat(),
            "keep_last": self.keep_last,
            "workflow": self.workflow,
            "events_only": self.events_only,
            "archive": None if self.archive is None else str(self.archive),
            "batch_size": self.batch_size,
        }
