"""Resume the runs whose waiting calls all have a decision."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentstate.approvals import decided_runs
from agentstate.integrations.agents.deciding import NotInterrupted, UndecidedCalls
from agentstate.integrations.agents.resuming import resume_workflow_sync
from agentstate.recording import IllegalStatusChange, RunNotFound
from agentstate.recording.storable import described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agents import Agent

    from agentstate.integrations.agents.outcome import Outcome

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResumedRun:
    """What became of a run that was to be resumed.

    Attributes:
        outcome: of the run; None if it has none.
        error: what failed the run, or kept it from being resumed: then it still waits. None if nothing did, or if
            another process was first.
    """

    run_id: str
    workflow_id: str
    outcome: Outcome | None = None
    error: str | None = None

    @property
    def has_failed(self) -> bool:
        return self.error is not None or (self.outcome is not None and self.outcome.status == "failed")


def resume_decided_runs(agent_of: Callable[[str], Agent[Any] | None]) -> Iterator[ResumedRun]:
    """Resume each run that has a decision for each of its calls, one after the other, and yield what became of it.

    Several processes may do this at once: each run is resumed by one of them.

    Args:
        agent_of: returns the agent of a workflow, None if there is none.
    """
    for run in decided_runs():
        try:
            agent = agent_of(run.workflow_id)
            if agent is None:
                error = f"There is no agent for the workflow {run.workflow_id!r}; the run still waits."
                yield ResumedRun(run.pk, run.workflow_id, error=error)
                continue
            outcome = resume_workflow_sync(run.pk, agent)
        except (IllegalStatusChange, UndecidedCalls, NotInterrupted, RunNotFound):
            yield ResumedRun(run.pk, run.workflow_id)
        except Exception as error:
            logger.info("Run %s could not be resumed, or failed", run.pk, exc_info=True)
            yield ResumedRun(run.pk, run.workflow_id, error=described(error))
        else:
            yield ResumedRun(run.pk, run.workflow_id, outcome)
