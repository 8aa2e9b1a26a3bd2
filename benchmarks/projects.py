"""The list of projects, at a small size and at a large one: by its orders, and by filters that find much or little."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agentstate.admin.project.changelist import SECONDS
from agentstate.models import KeptVerification
from benchmarks.databases import benchmark_database
from benchmarks.pages import HELD, Pair, execute, older, opened, report, vacuum

if TYPE_CHECKING:
    from collections.abc import Sequence

FEW = 1_000
SEARCHED, UNINDEXED = f"at most {SECONDS:g} s of searching", "reads the table"
LIST = "admin:agentstate_project_changelist"

# Every tenth project has an open conflict, and one of 500 a fatal item, if it is an old one: what is found soon, and
# what is looked for. Every second project has a snapshot in sync, and one of 500 a newer one.
PROJECTS = """
    INSERT INTO "Project" (id, "userId", name, "stateUpdatedAt", "coverageJson", "conflictLogJson", "eligibilityJson")
    SELECT 'project-' || lpad(i::text, 9, '0'), 'user', 'Community garden ' || i, %(now)s - i * interval '1 s',
        jsonb_build_object('score', i %% 100 / 100.0, 'text', repeat(md5(i::text), 10)),
        jsonb_build_array(jsonb_build_object('key', 'budget', 'resolved', CASE WHEN i %% 10 > 0 THEN 'latest' END)),
        jsonb_build_object('items', jsonb_build_array(jsonb_build_object(
            'text', 'must be a 501(c)(3)', 'fatal', i %% 500 = 0 AND i <= 1000)))
    FROM generate_series(%(first)s, %(last)s) i"""
SNAPSHOTS = """
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, result, started_at, completed_at, snapshot_at,
                                    legacy_at)
    SELECT 'run-' || id || kind, 'legacy_snapshot', id, 'succeeded', jsonb_build_object('state', jsonb_build_object(
            'coverage', "coverageJson", 'conflictLog', "conflictLogJson", 'eligibility', "eligibilityJson")),
        at, at, at, "stateUpdatedAt"
    FROM "Project", LATERAL (
        SELECT '-1' AS kind, "stateUpdatedAt" AS at UNION ALL
        SELECT '-2', "stateUpdatedAt" + interval '1 hour' WHERE right(id, 3)::int IN (2, 502)) each
    WHERE right(id, 1) IN ('0', '2', '4', '6', '8')
      AND NOT EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.project_id = "Project".id)"""


def run(views: int, large: int, out: TextIO) -> None:
    """Measure in a new database, which is dropped at the end.

    Args:
        views: how often each page is opened; medians count.
        large: the large size, in projects.
        out: where the figures go.
    """
    with benchmark_database():
        client = Client(SERVER_NAME="localhost")
        client.force_login(get_user_model().objects.create_superuser("benchmark"))
        median: dict[str, float] = {}
        pairs = project_lists(client, views, large, median)
    report(pairs, median, out)


def project_lists(client: Client, views: int, large: int, median: dict[str, float]) -> Sequence[Pair]:
    """Open the pages of the list of projects, and again once the table has grown."""
    page, now, first = reverse(LIST), timezone.now(), 1
    verification = KeptVerification.objects.create(started_at=now, ended_at=now, requested_by="benchmark")
    verification.unequal_projects.create(project_id=f"project-{FEW:09}")
    questions = {
        "projects by id": ("", HELD),
        "projects by newest snapshot": ("?order=snapshot", HELD),
        "projects with open conflicts": ("?conflicts=open", HELD),
        "projects that are legacy ahead": ("?standing=legacy_ahead", HELD),
        "projects that are unequal": ("?standing=unequal", HELD),
        "projects with a rare fatal item": ("?eligibility=fatal", SEARCHED),
        "projects that are forked, in vain": ("?standing=forked", SEARCHED),
        "projects by a part of their name": ("?q=garden", HELD),
        "projects by last changed columns": ("?order=columns", UNINDEXED),
    }
    for size in (FEW, large):
        execute(PROJECTS, first=first, last=size, now=now)
        execute(SNAPSHOTS)
        vacuum()
        addresses = {name: page + query for name, (query, _) in questions.items()}
        addresses["older projects by newest snapshot"] = older(client, page, "?order=snapshot")
        median |= opened(client, {f"{name}, of {size:,}": address for name, address in addresses.items()}, views)
        first = size + 1
    bounds = {name: bound for name, (_, bound) in questions.items()} | {"older projects by newest snapshot": HELD}
    return [Pair(f"{name}, of {FEW:,}", f"{name}, of {large:,}", bound) for name, bound in bounds.items()]
