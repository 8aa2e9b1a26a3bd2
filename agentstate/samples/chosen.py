"""Choose sample projects for live runs, in a database that holds samples only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection, transaction

from agentstate import gates
from agentstate.samples import Parameters, SamplesRefused, refuse_unsuitable_table
from agentstate.samples.rows import COUNT_OTHERS
from agentstate.samples.words import WORDS
from agentstate.state.homes import NEWEST, PROJECTS
from agentstate.state.standing import STANDING

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

# Backfilled projects with the documents that the live runs change, and without any other run.
_UNTOUCHED = f"""
    SELECT p.id FROM {PROJECTS} p {NEWEST}
    WHERE {STANDING} = 'in_sync'
      AND p."coverageJson" @? '$ ? (@.score > 0.2 && @.score < 0.6 && exists(@.requirements[4].need_from_user))'
      AND jsonb_typeof(p."conflictLogJson") = 'array' AND p."conflictLogJson" @? '$[1].next'
      AND jsonb_typeof(p."eligibilityJson" -> 'items') = 'array' AND p."eligibilityJson" @? '$.items[1].text'
      AND p."factsJson" @? '$.org' AND p."rfpNormJson" @? '$.sections[3].title'
      AND NOT EXISTS (SELECT FROM "AgentWorkflowRun" WHERE project_id = p.id AND workflow_id <> 'legacy_snapshot')
    ORDER BY p.id COLLATE "C" LIMIT %s"""


class ProjectsNotSamples(SamplesRefused):
    """The table holds projects that are not samples."""

    def __init__(self, count: int, seed: int) -> None:
        super().__init__(count, seed)
        self.count, self.seed = count, seed

    def __str__(self) -> str:
        return (
            f'"Project" holds {self.count:,} rows that are not samples of seed {self.seed}. Nothing was changed. '
            "Give the --seed that the samples were made with, or let DATABASE_URL name a database of samples only."
        )


class SamplesNotReady(SamplesRefused):
    """Too few projects suit the live runs."""

    def __init__(self, count: int, needed: int) -> None:
        super().__init__(count, needed)
        self.count, self.needed = count, needed

    def __str__(self) -> str:
        return (
            f"{self.count} of {self.needed} suitable projects were found. Nothing was changed. Run manage.py "
            "seed_legacy_projects --count 500 --append, then manage.py backfill_agentkit_state."
        )


class HomesNotBothWritten(SamplesRefused):
    """A save would not be written to both homes."""

    def __str__(self) -> str:
        return (
            "Saves are not written to both homes. Nothing was changed. Bring the rollout to dual_write, shadow_read "
            "or agentkit_read with manage.py agentkit_rollout advance or retreat."
        )


def choose_samples(count: int, seed: int) -> list[str]:
    """Return the ids of this many sample projects that have had no run since they were backfilled.

    Raises:
        ProjectTableMissing, ProjectTableNotOurs: see :func:`agentstate.samples.make_projects`.
        ProjectsNotSamples: there are other projects than samples of this seed.
        SamplesNotReady: too few suit.
        HomesNotBothWritten: one of the two homes is not written.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        refuse_unsuitable_table(cursor)
        # Compiling the large statement takes longer than running it.
        cursor.execute("SET LOCAL jit = off")
        _refuse_other_projects(cursor, seed)
        cursor.execute(_UNTOUCHED, [count])
        projects = [project_id for (project_id,) in cursor.fetchall()]
    if len(projects) < count:
        raise SamplesNotReady(len(projects), count)
    answers = [gates.stored_answers(project_id) for project_id in projects]
    if not all(answer.agentkit_writes and answer.legacy_writes for answer in answers):
        raise HomesNotBothWritten
    return projects


def _refuse_other_projects(cursor: CursorWrapper, seed: int) -> None:
    parameters: Parameters = {**WORDS, "seed": str(seed)}
    cursor.execute(COUNT_OTHERS, parameters)
    (count,) = cursor.fetchone()
    if count:
        raise ProjectsNotSamples(count, seed)
