"""Errors of loading and saving."""

from __future__ import annotations


class StateError(Exception):
    """Base class."""


class ProjectNotFound(StateError):
    """No project has this id.

    Attributes:
        project_id: the id.
    """

    def __init__(self, project_id: str) -> None:
        super().__init__(f"No project has the id {project_id!r}.")
        self.project_id = project_id


class ProjectHidden(StateError):
    """Row-level security hides the project, or it does not exist: this role cannot tell which.

    Attributes:
        project_id: the id.
    """

    def __init__(self, project_id: str, fact: str, way_out: str) -> None:
        super().__init__(f"No project with the id {project_id!r} is visible here. {fact} {way_out}")
        self.project_id = project_id


class NotWritten(StateError):
    """The database did not keep what a save wrote. The save was rolled back.

    Attributes:
        project_id: the project's id.
    """

    def __init__(self, project_id: str, fact: str) -> None:
        super().__init__(f"State of project {project_id!r} was not saved: {fact}. Nothing was changed.")
        self.project_id = project_id


class StateWriteDisabled(StateError):
    """No write gate is open for this project, or only the gate of columns that have been dropped.

    Attributes:
        project_id: its id.
    """

    def __init__(self, project_id: str, *, has_columns: bool = True) -> None:
        super().__init__(
            f"State of project {project_id!r} cannot be saved: "
            + (
                "agentkit_writes and legacy_writes are both off for it. Open one of them with manage.py waffle_flag."
                if has_columns
                else "agentkit_writes is off for it, and the legacy columns have been dropped. Open the gate with "
                "manage.py waffle_flag agentkit_writes --everyone."
            )
        )
        self.project_id = project_id


class UnsuitableDocument(StateError, ValueError):
    """A value is not JSON that PostgreSQL can hold. Nothing was written.

    Attributes:
        path: of the value, such as ``coverage.requirements[3].status``.
    """

    def __init__(self, path: str, fact: str) -> None:
        super().__init__(f"{path} {fact}. Nothing was written.")
        self.path = path


class UnsuitableTransaction(StateError):
    """The caller's transaction does not see what others have committed."""


class UnsuitableRun(StateError):
    """State cannot be saved in this run, or no session can be opened by it.

    Attributes:
        run_id: its id.
    """

    def __init__(self, run_id: str, fact: str, *, use: str = "State cannot be saved in") -> None:
        super().__init__(f"{use} the run {run_id!r}: {fact}.")
        self.run_id = run_id
