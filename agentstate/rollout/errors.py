"""Why a step was not taken, or not to its end."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMED = 10


class RolloutError(Exception):
    """A step was not taken, or not to its end; the text says why, and the way out."""


class UnsuitablePercent(RolloutError):
    """A share was asked for that the next step does not have."""


class Refused(RolloutError):
    """The step cannot be taken now."""


class StepInProgress(Refused):
    """Another operator is taking a step, or took one in between."""


class NeedsPerson(Refused):
    """Some projects cannot be brought back without a person.

    Attributes:
        projects: their ids.
    """

    def __init__(self, text: str, projects: Sequence[str]) -> None:
        names = ", ".join(map(shlex.quote, projects[:NAMED])) + (", …" if len(projects) > NAMED else "")
        super().__init__(f"{text}: {names}.")
        self.projects = projects


class TableLocked(Refused):
    """Others kept ``"Project"`` locked. Nothing was changed."""


class Interrupted(RolloutError):
    """An operator interrupted the step where that is safe."""
