"""The search for sessions: by ids, by how these begin, by memory, by run, by workflow, by project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.db.models.functions import Left

from agentstate.admin.shared.keyset import Walk
from agentstate.admin.shared.names import workflows_beginning
from agentstate.admin.shared.paging import Listing
from agentstate.admin.shared.search import found_projects, with_this_id
from agentstate.models import AgentSession, AgentWorkflowRun, Project
from agentstate.models.expressions import WORKFLOW_LETTERS, begins_with
from agentstate.read_database import read_alias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet

    Sessions = QuerySet[AgentSession]

# The notice names so many workflows.
MOST_IDS, MOST_NAMED = 20, 10


def found_sessions(term: str, sessions: Sessions, order: tuple[str, ...]) -> Listing:
    """Return the list of the sessions that a term finds.

    The first way of these that finds something counts: a session's id, a project's id, the beginning of a session's
    id, of its memory, of its run's id, of its run's workflow, of a project's id or a part of its name.

    Args:
        term: as it was given. Spaces around it may be part of an id.
    """
    words = term.strip()
    this = with_this_id(AgentSession, term)
    if this is not None:
        return Listing([sessions.filter(pk=this)], order)
    if with_this_id(Project, term) is None:
        for find in (_by_beginning, _by_run):
            condition, notice = find(words)
            if condition:
                return Listing([sessions.filter(condition)], order, notice=notice)
        if workflows := workflows_beginning(words):
            return Listing([sessions], order, Walk(_of_workflows(workflows)), _of(workflows))
    projects, notice = found_projects(term)
    return Listing([sessions.filter(project=each) for each in projects], order, notice=notice)


def _by_beginning(words: str) -> tuple[Q, str]:
    for field, what in (("id", "whose id begins so"), ("memory_id", "whose memory begins so")):
        pks = AgentSession.objects.filter(begins_with(field, words)).values_list("pk", flat=True)
        found = list(pks[: MOST_IDS + 1])
        if found:
            return Q(pk__in=found[:MOST_IDS]), _notice(found, what)
    return Q(), ""


def _by_run(words: str) -> tuple[Q, str]:
    """Find the sessions of runs by their projects, which an index has."""
    runs = AgentWorkflowRun.objects.filter(begins_with("id", words)).values_list("pk", "project_id")
    found = list(runs[: MOST_IDS + 1])
    ids, projects = {pk for pk, _ in found[:MOST_IDS]}, {project for _, project in found if project is not None}
    pks = list(
        AgentSession.objects.filter(project__in=projects, agent_run__in=ids).values_list("pk", flat=True)[:MOST_IDS]
    )
    return (Q(pk__in=pks), _notice(found, "whose run's id begins so")) if pks else (Q(), "")


def _of_workflows(names: Sequence[str]) -> Any:
    def matching(pks: list[Any]) -> set[Any]:
        sessions = AgentSession.objects.using(read_alias()).filter(pk__in=pks)
        sessions = sessions.alias(workflow=Left("agent_run__workflow_id", WORKFLOW_LETTERS))
        return set(sessions.filter(workflow__in=names).values_list("pk", flat=True))

    return matching


def _of(workflows: Sequence[str]) -> str:
    more = f" and {len(workflows) - MOST_NAMED:,} more" if len(workflows) > MOST_NAMED else ""
    return f"These are sessions whose last run is of: {', '.join(name[:60] for name in workflows[:MOST_NAMED])}{more}."


def _notice(found: Sequence[Any], what: str) -> str:
    more = f" There are more than {MOST_IDS}: narrow it down." if len(found) > MOST_IDS else ""
    return f"These are sessions {what}.{more}"
