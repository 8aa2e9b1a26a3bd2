"""The table of a project's moments, and which run set a value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from agentstate.admin.project import blame as blaming
from agentstate.admin.project import history
from agentstate.admin.project.blame import BadPath, blame, parse_path
from agentstate.recording import record
from tests import scenes
from tests.admin.project.project_pages import address, page_of, text_of
from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory, write_columns
from tests.worked_example import worked_example

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    return superuser()


def table(client: Client, project: str, **query: Any) -> Any:
    return page_of(client, project, "history_table", **query)


def words(row: Any) -> list[str]:
    return [f"{change.key}: {line}" for change in row.changes for line in change.lines or [change.verb]]


def save_scores(project: str, *scores: float) -> None:
    with record("intake", project) as run:
        for number in scores:
            run.save(coverage={"score": number})


# -- the table


def test_each_moment_says_what_changed_the_newest_first(client: Client) -> None:
    example = worked_example()
    rows = table(client, example.project).context["rows"]
    assert [row.run_id for row in rows] == example.runs[::-1]
    assert words(rows[0]) == ["eligibility: new fatal item: Must be a 501(c)(3)"]
    assert words(rows[1]) == ["facts: changed"]
    assert words(rows[2]) == ["conflictLog: conflict in budget resolved: latest"]
    assert words(rows[3]) == ["coverage: score 0.2 → 0.5"]
    assert {change.key for change in rows[4].changes} == {"coverage", "conflictLog", "eligibility", "facts"}
    assert {change.verb for change in rows[4].changes} == {"added"}


def test_moments_lead_to_the_page_at_that_moment(client: Client) -> None:
    example = worked_example()
    for number, row in enumerate(reversed(table(client, example.project).context["rows"]), start=1):
        place = client.get(f"{address(example.project)}?{row.query}").context["place"]
        assert (place.number, place.moment.run_id) == (number, row.run_id)


def test_moments_are_filtered_by_document_and_day(client: Client) -> None:
    example = worked_example()
    rows = table(client, example.project, document="coverage").context["rows"]
    assert [(row.run_id, words(row)[0]) for row in rows] == [
        (example.runs[1], "coverage: score 0.2 → 0.5"),
        (example.runs[0], "coverage: score none → 0.2"),
    ]
    everything = table(client, example.project).context["rows"]
    for query, whole in (({}, everything), ({"document": "facts"}, [everything[1], everything[-1]])):
        for day in {row.at.date() for row in everything}:  # two, if midnight was among the moments
            found = table(client, example.project, day=f"{day:%Y-%m-%d}", **query).context["rows"]
            assert [row.at for row in found] == [row.at for row in whole if row.at.date() == day]
    assert table(client, example.project, day="2001-01-01").context["rows"] == []
    assert "Not a valid date" in text_of(table(client, example.project, day="soon"))


@pytest.mark.parametrize("query", [{}, {"document": "coverage"}])
def test_the_table_has_pages(client: Client, monkeypatch: pytest.MonkeyPatch, query: dict[str, str]) -> None:
    monkeypatch.setattr(history, "MOMENTS", 2)
    monkeypatch.setattr(blaming, "CHANGES", 2)
    project = ProjectFactory(documents={"coverage": '{"score": 0.1}'}).id
    scenes.open_gates(agentkit_writes=True)
    scenes.forward(project, sessions=False)
    save_scores(project, 0.2, 0.3, 0.4)
    page = table(client, project, **query)
    shown = [words(row) for row in page.context["rows"]]
    while page.context["older"]:
        page = client.get(address(project, "history_table") + page.context["older"])
        shown += [words(row) for row in page.context["rows"]]
    assert shown == [
        [f"coverage: score {was} → {now}"] for was, now in (("0.3", "0.4"), ("0.2", "0.3"), ("0.1", "0.2"))
    ] + [["coverage: score none → 0.1"]]


def test_large_documents_are_named_without_words(client: Client) -> None:
    project = ProjectFactory(documents={"facts": json.dumps([f"{n * 7919**9}" for n in range(20_000)])}).id
    scenes.forward(project, sessions=False)
    for query in ({}, {"document": "facts"}):
        assert "too large to compare here" in text_of(table(client, project, **query))


# -- blame


@pytest.mark.parametrize(
    ("text", "key", "path"),
    [
        ("coverage", "coverage", "$"),
        (" coverage.score ", "coverage", '$."score"'),
        ("coverage.requirements[3].status", "coverage", '$."requirements"[3]."status"'),
        ('facts["two words"][0]', "facts", '$."two words"[0]'),
        (
            "coverage.requirements[id=req_2].status",
            "coverage",
            '$."requirements"[*] ? (@."id" == "req_2")."status"',
        ),
        ('coverage.requirements[id="a]\\"b"]', "coverage", '$."requirements"[*] ? (@."id" == "a]\\"b")'),
    ],
)
def test_a_path_is_read_as_it_is_shown(text: str, key: str, path: str) -> None:
    assert parse_path(text) == (key, path)


@pytest.mark.parametrize(
    "text", ["nothing.score", "coverage score", "coverage.", "coverage[x]", "coverage\0", '["a"]']
)
def test_a_text_that_is_no_path_is_refused(client: Client, text: str) -> None:
    with pytest.raises(BadPath):
        parse_path(text)
    assert client.get(address(worked_example().project, "blame"), {"path": text}).status_code == 200


def test_blame_names_each_run_that_set_a_value_and_what_it_was(client: Client) -> None:
    example = worked_example()
    found = page_of(client, example.project, "blame", path="coverage.score").context["blame"]
    assert [(each.save.run_id, each.save.text, each.before and each.before.text) for each in found.changes] == [
        (example.runs[1], "0.5", "0.2"),
        (example.runs[0], "0.2", None),
    ]
    found = blame(example.project, parse_path("eligibility.items[id=elig_2].fatal"))
    assert [(each.save.run_id, each.save.text, each.before and each.before.text) for each in found.changes] == [
        (example.runs[4], "true", None)
    ]
    assert blame(example.project, parse_path("coverage.nothing")).changes == []


def test_blame_finds_an_entry_wherever_it_is_in_its_list() -> None:
    project = ProjectFactory(
        documents={"coverage": '{"requirements": [{"id": "a"}, {"id": "R", "status": "drafted"}]}'}
    ).id
    scenes.open_gates(agentkit_writes=True)
    scenes.forward(project, sessions=False)
    with record("intake", project) as run:
        run.save(coverage={"requirements": [{"id": "R", "status": "missing"}, {"id": "a"}]})
        run.save(coverage={"requirements": [{"id": "a"}]})
    found = blame(project, parse_path("coverage.requirements[id=R].status"))
    assert [(each.save.text, each.before and each.before.text) for each in found.changes] == [
        (None, '"missing"'),
        ('"missing"', '"drafted"'),
        ('"drafted"', None),
    ]


def test_blame_says_when_another_writer_changed_the_columns(client: Client) -> None:
    project = worked_example().project
    write_columns(project, {"coverage": '{"score": 0.9}'})
    page = page_of(client, project, "blame", path="coverage.score")
    assert page.context["blame"].unsaved[1] == "0.9"
    assert "no run has it yet" in text_of(page)
    assert page_of(client, project, "blame", path="facts").context["blame"].unsaved is None


def test_blame_goes_on_where_its_budget_ended(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    project = ProjectFactory(documents={"coverage": '{"score": 0.1}', "facts": "1"}).id
    scenes.open_gates(agentkit_writes=True)
    scenes.forward(project, sessions=False)
    with record("intake", project) as run:
        run.save(coverage={"score": 0.2})
        for number in range(6):
            run.save(facts=number + 2)
    monkeypatch.setattr(blaming, "SECONDS", 0.0)
    monkeypatch.setattr(blaming, "FIRST_STEP", 3)
    page, found = page_of(client, project, "blame", path="coverage.score"), []
    while True:
        found += [(each.save.text, each.before and each.before.text) for each in page.context["blame"].changes]
        if not page.context["older"]:
            break
        page = page_of(client, project, "blame", **{k: v[0] for k, v in parse_qs(page.context["older"][1:]).items()})
    assert found == [("0.2", "0.1"), ("0.1", None)]


@pytest.mark.parametrize("view", ["history_table", "blame"])
def test_only_those_who_view_projects_see_their_history(view: str) -> None:
    project = worked_example().project
    assert viewer("agentworkflowrun").get(address(project, view)).status_code == 403
    seen = viewer("project").get(address(project, view), {"path": "facts"})
    assert seen.status_code == 200
    assert "agentworkflowrun" not in text_of(seen)
    assert superuser().get(address("nothing", view)).status_code == 404
    assert superuser().post(address(project, view)).status_code == 405


# -- the plot


def test_points_of_the_plot_lead_to_their_moments(client: Client) -> None:
    example = worked_example()
    page = page_of(client, example.project)
    points = page.context["plot"].points
    assert [(point.at, str(point.score)) for point in points] == [
        (row.at, score)
        for row, score in zip(
            table(client, example.project, document="coverage").context["rows"][::-1], ("0.2", "0.5"), strict=True
        )
    ]
    assert text_of(page).count("agentstate-plot-point") == 2
