"""What a workflow came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents import RunResult, RunResultStreaming


@dataclass(frozen=True)
class Outcome:
    """What a workflow came to; a failure is raised instead.

    Attributes:
        run_id: the id of its run.
        status: the run's status: ``succeeded``; ``pending`` if it waits for approvals; ``canceled``, or ``failed``,
            if another process ended it or a stream was left early.
        output: the final output of the last agent.
        approvals: the calls that wait for a decision, each with ``call_id``, ``tool``, ``agent`` and ``arguments``.
        result: the SDK's own result; None where there is none.
        lost_events: how many events, or the output, could not be recorded. The log says why.
    """

    run_id: str
    status: str
    output: Any = None
    approvals: list[dict[str, Any]] = field(default_factory=list)
    result: RunResult | RunResultStreaming | None = field(default=None, repr=False)
    lost_events: int = 0
