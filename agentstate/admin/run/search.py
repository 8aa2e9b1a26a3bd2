"""The search for runs: by ids, by how these begin, by memory, by workflow, by project."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from django.db.models import Q
from django.db.models.lookups import Exact

from agentstate.admin.shared.names import workflows_beginning
from agentstate.admin.shared.search import found_projects, with_this_id
from agentstate.models import AgentSession, AgentWorkflowRun, Project
from agentstate.models.expressions import begins_with, lacks_snapshot, of_project, workflow_start

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each workflow found is ten parts of the list.
MOST_IDS, MOST_WORKFLOWS = 20, 4


def find_runs(term: str) -> tuple[Sequence[Q], str]:
    """Return conditions that the runs found meet one of, and a notice.

    The first way of these that finds something counts: a run's id, a project's id, the beginning of a run's id, of a
    session's id or of its memory, of a workflow, of a project's id or a part of its name.

    Args:
        term: as it was given. Spaces around it may be part of an id.
    """
    this = with_this_id(AgentWorkflowRun, term)
    if this is not None:
        return [Q(pk=this)], ""
    is_project = with_this_id(Project, term) is not None
    for find in () if is_project else (_by_beginning, _by_session, _by_workflow):
        parts, notice = find(term.strip())
        if parts:
            return parts, notice
    projects, notice = found_projects(term)
    return [of_project(each) for each in projects], notice


def workflow_parts(name: str, kinds: Sequence[tuple[str, int]]) -> list[Q]:
    """Return the conditions of a workflow's runs, a part for each status with and without a snapshot."""
    return [Q(Exact(workflow_start(), name), Exact(lacks_snapshot(), lacks), status=status) for status, lacks in kinds]


def _by_beginning(words: str) -> tuple[Sequence[Q], str]:
    ids = list(AgentWorkflowRun.objects.filter(begins_with("id", words)).values_list("pk", flat=True)[: MOST_IDS + 1])
    return _of_ids(ids, "runs whose id begins so")


def _by_session(words: str) -> tuple[Sequence[Q], str]:
    """Find the runs that sessions name."""
    sessions = AgentSession.objects.filter(agent_run__isnull=False).values_list("agent_run", flat=True)
    for field, what in (("id", "whose session's id begins so"), ("memory_id", "of sessions with such a memory")):
        found = list(sessions.filter(begins_with(field, words))[: MOST_IDS + 1])
        if found:
            return _of_ids(found, f"runs {what}")
    return [], ""


def _by_workflow(words: str) -> tuple[Sequence[Q], str]:
    found = workflows_beginning(words)
    kinds = list(product(AgentWorkflowRun.Status.values, (0, 1)))
    parts = [part for name in found[:MOST_WORKFLOWS] for part in workflow_parts(name, kinds)]
    rest = f" More than {MOST_WORKFLOWS} workflows begin so: narrow it down." if len(found) > MOST_WORKFLOWS else ""
    return parts, f"These are runs of: {', '.join(name[:60] for name in found[:MOST_WORKFLOWS])}.{rest}"


def _of_ids(ids: list[str], what: str) -> tuple[Sequence[Q], str]:
    more = f" There are more than {MOST_IDS}: narrow it down." if len(ids) > MOST_IDS else ""
    return [Q(pk__in=ids[:MOST_IDS])] if ids else [], f"These are {what}.{more}"
