"""The error for a project that was not found."""

from __future__ import annotations

from agentstate.row_security import tables_that_hide
from agentstate.state.errors import ProjectHidden, ProjectNotFound, StateError


def missing(project_id: str) -> StateError:
    """Return the error to raise for a project without a row in ``"Project"``, or with one that a policy hides."""
    for table in tables_that_hide(tables=("Project",)):
        return ProjectHidden(project_id, table.fact, table.way_out)
    return ProjectNotFound(project_id)
