"""The passes that move state between the two homes: set-based, batched, idempotent."""

from agentstate.backfill.counts import Counts, Failure
from agentstate.backfill.errors import BackfillError, OtherDirectionRunning, UnknownProjects
from agentstate.backfill.options import Pacing, PassOptions, Selection
from agentstate.backfill.outcome import Outcome
from agentstate.backfill.pass_runner import Progress, run_pass

__all__ = [
    "BackfillError",
    "Counts",
    "Failure",
    "OtherDirectionRunning",
    "Outcome",
    "Pacing",
    "PassOptions",
    "Progress",
    "Selection",
    "UnknownProjects",
    "run_pass",
]
