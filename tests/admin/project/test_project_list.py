"""The list of projects: its columns, its filters, its orders, and how far a page looks."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.admin.project import changelist, panels
from agentstate.admin.project.admin import ProjectAdmin
from agentstate.admin.project.listing import figures_of
from agentstate.admin.shared import keyset
from agentstate.models import KeptVerification
from tests import scenes
from tests.admin.viewers import superuser
from tests.factories import ProjectFactory

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db

LIST = url_of("admin:agentstate_project_changelist")
OPEN = json.dumps([{"key": "a", "type": "x"}, {"key": "b", "type": "x", "resolved": "latest"}])
CLOSED = json.dumps([{"key": "b", "type": "x", "resolved": "latest"}])
FATAL = json.dumps({"items": [{"id": "1", "fatal": True}, {"id": "2", "fatal": False}]})


@pytest.fixture
def client() -> Client:
    return superuser()


def listed(client: Client, **query: str) -> Any:
    page = client.get(LIST, query)
    assert page.status_code == 200
    return page.context["cl"]


def ids(changes: Any) -> list[str]:
    return [row.pk for row in changes.result_list]


def test_a_row_has_the_figures_of_the_home_that_changed_last(client: Client) -> None:
    ProjectFactory(id="a")
    ProjectFactory(id="p", documents={"coverage": '{"score": 0.5}', "conflictLog": OPEN, "eligibility": FATAL})
    scenes.forward(sessions=False)
    figures = figures_of(["p"])["p"]
    assert (figures.standing, figures.score, figures.open_conflicts, figures.fatal) == ("in_sync", "0.5", 1, 1)

    scenes.save("p", "coverage", '{"score": 0.7}', legacy=False)
    other, row = listed(client).result_list
    assert (other.figures.standing, other.figures.score, other.figures.open_conflicts) == ("empty", None, 0)
    assert (row.figures.standing, row.figures.score) == ("agentkit_ahead", "0.7")
    assert row.figures.last_change == row.figures.snapshot_at

    scenes.change_columns("p", coverage={"score": 0.9}, conflictLog=[])
    _, row = listed(client).result_list
    assert (row.figures.standing, row.figures.score, row.figures.open_conflicts) == ("forked", "0.9", 0)


@pytest.mark.parametrize(
    ("conflicts", "eligibility"),
    [
        ({"key": "a"}, [{"fatal": True}, "text", 3, None, {"fatal": "true"}]),
        ([{"resolved": None}, {"resolved": False}, {"resolved": True}, {"resolved": []}, {"resolved": {}}], {}),
        (
            [[{"key": "a"}], "x", None, {"resolved": ""}, {"resolved": [None]}, {"resolved": 0}],
            {"items": {"fatal": True}},
        ),
        ("text", {"items": [[{"fatal": True}], {"fatal": [True]}, {"fatal": True}]}),
        (None, None),
    ],
)
def test_the_list_counts_as_the_panels_do(conflicts: Any, eligibility: Any) -> None:
    ProjectFactory(id="p", documents={"conflictLog": json.dumps(conflicts), "eligibility": json.dumps(eligibility)})
    figures = figures_of(["p"])["p"]
    assert figures.open_conflicts == panels.conflicts(conflicts).open
    assert figures.fatal == panels.eligibility(eligibility).fatal


def test_documents_that_are_too_large_are_left_to_the_projects_page(client: Client) -> None:
    text = json.dumps([{"key": f"{number * 7919**9}"} for number in range(20_000)])
    ProjectFactory(id="p", documents={"conflictLog": text})
    page = client.get(LIST)
    assert "too large for the list" in page.content.decode()
    assert ids(listed(client, conflicts="open")) == ["p"]


def test_projects_are_filtered_by_conflicts_and_eligibility(client: Client) -> None:
    ProjectFactory(id="open", documents={"conflictLog": OPEN})
    ProjectFactory(id="fatal", documents={"conflictLog": CLOSED, "eligibility": FATAL})
    ProjectFactory(id="both", name="The garden", documents={"conflictLog": OPEN, "eligibility": FATAL})
    ProjectFactory(id="none")
    assert ids(listed(client, conflicts="open")) == ["both", "open"]
    assert ids(listed(client, eligibility="fatal")) == ["both", "fatal"]
    assert ids(listed(client, eligibility="fatal", conflicts="open")) == ["both"]
    assert ids(listed(client, eligibility="fatal", q="garden")) == ["both"]
    scenes.forward("open", sessions=False)
    scenes.save_in_agentkit(conflictLog=[])
    assert ids(listed(client, conflicts="open")) == ["both"]


def test_unequal_projects_are_those_of_the_last_verification(client: Client) -> None:
    for project in ("a", "b"):
        ProjectFactory(id=project, documents={"facts": "1"})
    scenes.forward(sessions=False)
    assert "unequal (never verified)" in client.get(LIST).content.decode()
    assert ids(listed(client, standing="unequal")) == []

    then = timezone.now() - timedelta(hours=3)
    verification = KeptVerification.objects.create(started_at=then, ended_at=then, requested_by="ada")
    verification.unequal_projects.create(project_id="b")
    assert "unequal (verified 3\N{NO-BREAK SPACE}hours ago)" in client.get(LIST).content.decode()
    assert ids(listed(client, standing="unequal")) == ["b"]
    assert [row.figures.standing for row in listed(client).result_list] == ["in_sync", "unequal"]


def test_projects_are_ordered_by_the_change_of_each_home(client: Client) -> None:
    for project in ("a", "b", "c"):
        ProjectFactory(id=project, documents={"facts": "1"})
    scenes.forward("a", "b", sessions=False)
    scenes.save_in_agentkit("project_id = 'a'", facts=2)
    scenes.change_columns("b", facts=3)
    assert ids(listed(client, order="snapshot")) == ["a", "b"]
    assert ids(listed(client, order="columns")) == ["b", "c", "a"]
    assert ids(listed(client, order="snapshot", standing="legacy_ahead")) == ["b"]
    assert ids(listed(client, order="snapshot", q="a")) == ["a"]
    assert ids(listed(client, q="a", standing="legacy_ahead")) == []


@pytest.mark.parametrize("query", [{}, {"order": "snapshot"}, {"order": "columns"}, {"conflicts": "open"}])
def test_pages_go_on_and_back(client: Client, monkeypatch: pytest.MonkeyPatch, query: dict[str, str]) -> None:
    monkeypatch.setattr(ProjectAdmin, "list_per_page", 2)
    monkeypatch.setattr(keyset, "LARGEST_LOOK", 1)
    for number in range(6):
        ProjectFactory(id=f"p{number}", documents={"conflictLog": CLOSED if number == 2 else OPEN})
    scenes.forward(sessions=False)
    whole = [f"p{number}" for number in range(6) if not (number == 2 and "conflicts" in query)]
    if "order" in query:
        whole.reverse()

    first = listed(client, **query)
    second = client.get(LIST + first.older_link).context["cl"]
    third = client.get(LIST + second.older_link).context["cl"]
    assert [*ids(first), *ids(second), *ids(third)] == whole
    assert third.older_link == "" == first.newer_link
    back = client.get(LIST + third.newer_link).context["cl"]
    assert ids(back) == whole[len(whole) - len(ids(third)) - 2 :][:2]
    assert ids(client.get(LIST + back.newer_link).context["cl"]) == whole[:2]


class ImpatientWalk(keyset.Walk):
    """Its time is over after one statement."""

    def __post_init__(self) -> None:
        super().__post_init__()
        matching = self.matching

        def match_once(pks: list[Any]) -> set[Any]:
            self._end = 0.0
            return matching(pks)

        self.matching = match_once


def test_a_page_says_how_far_it_looked_and_goes_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changelist, "Walk", ImpatientWalk)
    for number in range(5):
        ProjectFactory(id=f"p{number}", documents={"conflictLog": OPEN if number == 4 else CLOSED})
    changes, pages = listed(client, conflicts="open"), 1
    while not changes.result_list:
        assert (changes.looked["at"], changes.looked["onwards"]) == (1, changes.older_link)
        changes, pages = client.get(LIST + changes.older_link).context["cl"], pages + 1
    assert (ids(changes), pages) == (["p4"], 5)


def test_the_order_by_snapshots_has_an_index() -> None:
    with connection.cursor() as cursor:
        for way in ("seqscan", "bitmapscan", "sort"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
        cursor.execute(
            """EXPLAIN SELECT id FROM "AgentWorkflowRun" WHERE num_nonnulls(project_id, snapshot_at) = 2
               ORDER BY snapshot_at DESC, hashtextextended(id, 0) DESC LIMIT 51"""
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "AgentWorkflowRun_snapshot_idx" in plan
    assert "Sort" not in plan
