"""Resume the agents' runs whose calls were all approved or rejected."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils.module_loading import import_string

from agentstate.integrations import AGENTS_MISSING
from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.management.text import counted

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from agentstate.integrations.agents.waiting_runs import ResumedRun


class Command(OperatorCommand):
    help = (
        "Resumes each agent's run that waits for approval and has a decision for each of its calls. Several of these "
        "commands may run at once: each run is resumed once. Exits with 1 if a run failed or could not be resumed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--agents",
            required=True,
            metavar="PATH",
            help="The dotted path of a mapping from workflow ids to agents, or of a function from one to the other "
            "that returns None for a workflow that it does not know.",
        )

    def handle(self, *, agents: str, **_: Any) -> None:
        try:
            from agentstate.integrations.agents.waiting_runs import resume_decided_runs
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("agentstate"):
                raise
            raise CommandError(AGENTS_MISSING.format(error.name)) from error
        agent_of = _agents_at(agents)
        resumed, failed = 0, 0
        with operator_errors():
            for run in resume_decided_runs(agent_of):
                self.stdout.write(f"{shlex.quote(run.run_id)}: {run.workflow_id}, {_words(run)}")
                resumed += run.outcome is not None
                failed += run.has_failed
        self.stdout.write(f"{counted(resumed, 'run')} resumed, {failed:,} failed.")
        if failed:
            raise CommandError(f"{counted(failed, 'run')} failed or could not be resumed.")


def _agents_at(path: str) -> Callable[[str], Any]:
    """Return the function from workflow ids to agents that a dotted path names.

    Raises:
        CommandError: it names nothing, or something else.
    """
    try:
        agents = import_string(path)
    except ImportError as error:
        raise CommandError(f"--agents {path} cannot be imported: {error}") from error
    if isinstance(agents, Mapping):
        return agents.get
    if callable(agents):
        return agents  # type: ignore[no-any-return]
    raise CommandError(f"--agents {path} is neither a mapping nor a function from workflow ids to agents.")


def _words(run: ResumedRun) -> str:
    if run.error is not None:
        return run.error.splitlines()[0]
    if run.outcome is None:
        return "another process resumed it"
    if run.outcome.status == "pending":
        return f"waits again for approval of {counted(len(run.outcome.approvals), 'call')}"
    return run.outcome.status
