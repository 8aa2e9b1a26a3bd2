"""The errors of steps that were not taken, or not completed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMED = 10


class RolloutError(Exception):
    """A step was not taken, or not completed. The text says why, and what to do."""


class UnsuitablePercent(RolloutError):
    """The next step does not have the requested share."""


class Refused(RolloutError):
    """The step cannot be taken now."""


class StepInProgress(Refused):
    """Another operator is taking a step, or took one meanwhile."""


class FlagsLocked(StepInProgress):
    """Another transaction kept a flag locked. Nothing was changed."""


class NeedsPerson(Refused):
    """Some projects need a decision by the operator before the step.

    Attributes:
        projects: their ids.
    """

    def __init__(self, text: str, projects: Sequence[str]) -> None:
        names = ", ".join(map(shlex.quote, projects[:NAMED])) + (", …" if len(projects) > NAMED else "")
        super().__init__(f"{text}: {names}.")
        self.projects = projects


class TableLocked(Refused):
    """Another transaction kept ``"Project"`` locked. Nothing was changed."""


class Interrupted(RolloutError):
    """The operator interrupted the step. What it had done so far is safe."""
