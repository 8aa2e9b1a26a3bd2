"""The orchestrator, for the routes that need the extra ``intake``."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agentstate.api.problems import RETRY_SECONDS, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def orchestrator() -> Iterator[Any]:
    """Import :mod:`agentstate.orchestrator`, and turn its refusals into problems.

    Raises:
        Problem: the libraries are missing, a key or an id is unknown, or others kept saving the project.
    """
    try:
        from agentstate import orchestrator
        from agentstate.intake.decisions import UnknownDecision
        from agentstate.orchestrator.orchestrate import ProjectBusy
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("agentstate"):
            raise
        raise Problem(
            501,
            "needs-intake",
            "This server lacks the libraries that read documents.",
            "Ask the operator to install the extra intake.",
        ) from error
    try:
        yield orchestrator
    except UnknownDecision as error:
        raise Problem(404, "decision-not-found", str(error), "Choose one of those that there are.") from None
    except ProjectBusy as error:
        raise Problem(
            503,
            "project-busy",
            str(error),
            "Send the same request again after the time in Retry-After.",
            headers={"Retry-After": str(RETRY_SECONDS)},
        ) from None
