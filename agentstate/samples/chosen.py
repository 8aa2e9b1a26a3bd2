"""Which sample projects things may happen to, and whether this database is one of samples only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection, transaction

from agentstate import gates
from agentstate.samples import Parameters, SeedingRefused, refuse_unsuitable_table
from agentstate.samples.rows import COUNT_OTHERS
from agentstate.samples.words import WORDS
from agentstate.state.homes import NEWEST, PROJECTS
from agentstate.state.standing import STANDING

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

# Projects of the usual shapes, with room for what is going to happen, and to which nothing has happened yet.
_QUIET = f"""
    SELECT p.id FROM {PROJECTS} p {NEWEST}
    WHERE {STANDING} = 'in_sync'
      AND p."coverageJson" @? '$ ? (@.score > 0.2 && @.score < 0.6 && exists(@.requirements[4].need_from_user))'
      AND jsonb_typeof(p."conflictLogJson") = 'array' AND p."conflictLogJson" @? '$[1].next'
      AND jsonb_typeof(p."eligibilityJson" -> 'items') = 'array' AND p."eligibilityJson" @? '$.items[1].text'
      AND p."factsJson" @? '$.org' AND p."rfpNormJson" @? '$.sections[3].title'
      AND NOT EXISTS (SELECT FROM "AgentWorkflowRun" WHERE project_id = p.id AND workflow_id <> 'legacy_snapshot')
    ORDER BY p.id COLLATE "C" LIMIT %s"""


class ProjectsNotSamples(SeedingRefused):
    """The table holds projects that nobody seeded."""

    def __init__(self, number: int, seed: int) -> None:
        super().__init__(number, seed)
        self.number, self.seed = number, seed

    def __str__(self) -> str:
        return (
            f'"Project" holds {self.number:,} rows that are not samples of seed {self.seed}, and nothing was changed: '
            "give the --seed that the samples were made with, or let DATABASE_URL name a database of samples only."
        )


class SamplesNotReady(SeedingRefused):
    """There are too few projects of the usual shapes that are in sync and to which nothing has happened yet."""

    def __init__(self, found: int, needed: int) -> None:
        super().__init__(found, needed)
        self.found, self.needed = found, needed

    def __str__(self) -> str:
        return (
            f"{self.found} of {self.needed} suitable projects were found, and nothing was changed: make some with "
            "manage.py seed_legacy_projects --count 500 --append, then run manage.py backfill_agentkit_state."
        )


class HomesNotBothWritten(SeedingRefused):
    """A save would not go into both homes."""

    def __str__(self) -> str:
        return (
            "Saves don't go into both homes here, and nothing was changed: the rollout must be at dual_write, "
            "shadow_read or agentkit_read, where manage.py agentkit_rollout advance and retreat lead."
        )


def quiet_samples(number: int, seed: int) -> list[str]:
    """Return the ids of this many sample projects to which nothing has happened since they were backfilled.

    Raises:
        ProjectTableMissing, ProjectTableNotOurs: see :func:`agentstate.samples.seed_projects`.
        ProjectsNotSamples: there are other projects than samples of this seed.
        SamplesNotReady: there are too few that suit.
        HomesNotBothWritten: one of the two homes is not written.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        refuse_unsuitable_table(cursor)
        # Compiling the large statement would take longer than running it.
        cursor.execute("SET LOCAL jit = off")
        _refuse_other_projects(cursor, seed)
        cursor.execute(_QUIET, [number])
        found = [project_id for (project_id,) in cursor.fetchall()]
    if len(found) < number:
        raise SamplesNotReady(len(found), number)
    answers = [gates.stored_answers(project_id) for project_id in found]
    if not all(answer.agentkit_writes and answer.legacy_writes for answer in answers):
        raise HomesNotBothWritten
    return found


def _refuse_other_projects(cursor: CursorWrapper, seed: int) -> None:
    parameters: Parameters = {**WORDS, "seed": str(seed)}
    cursor.execute(COUNT_OTHERS, parameters)
    (number,) = cursor.fetchone()
    if number:
        raise ProjectsNotSamples(number, seed)
