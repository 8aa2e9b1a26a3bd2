"""A project's page is bounded: large documents are cut to the first entries, counted and linked to."""

from __future__ import annotations

import json
import tracemalloc
from html import unescape
from typing import TYPE_CHECKING

import pytest
from django.test import RequestFactory

from agentstate import state
from agentstate.admin.project.documents import read_documents
from tests import scenes
from tests.admin.project.project_pages import address, page_of, text_of
from tests.admin.viewers import superuser
from tests.factories import ProjectFactory, write_columns

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db

CONFLICTS = json.dumps([{"key": f"k{number}", "next": {"version": "2"}} for number in range(20_000)])
# Stored in more than 100 kB, compressed.
BULKY = json.dumps([{"key": f"{number * 7919**9}"} for number in range(20_000)])
FACTS = json.dumps({"org": {"legal_name": "Gardens"}, "team": [{"name": f"n{number}"} for number in range(40_000)]})


@pytest.fixture
def client() -> Client:
    return superuser()


@pytest.mark.parametrize("moment", ["", "1"])
def test_large_documents_are_cut_and_counted(client: Client, moment: str) -> None:
    project = ProjectFactory(documents={"conflictLog": CONFLICTS, "facts": FACTS}).id
    scenes.forward(project, sessions=False)

    page = page_of(client, project, moment=moment)

    text = unescape(text_of(page))
    assert "Shows and counts the first 50 of 20,000 entries." in text
    assert "Shows and counts the first 50 of 40,000 team." in text
    assert "Gardens" in text
    assert len(page.context["conflicts"].conflicts) == len(page.context["facts"].team) == 50
    assert len(page.content) < 200_000


def test_the_whole_document_is_a_link_away(client: Client) -> None:
    project = ProjectFactory(documents={"conflictLog": CONFLICTS}).id
    scenes.forward(project, sessions=False)
    for query in ({}, {"home": "legacy"}, {"home": "snapshot"}, {"moment": "1"}):
        found = client.get(address(project, "document", key="conflictLog"), query)
        assert json.loads(found.content) == json.loads(CONFLICTS)


def test_a_document_without_lists_is_left_out_with_its_size(client: Client) -> None:
    project = ProjectFactory(documents={"coverage": json.dumps({"score": 0.5, "requirements": ["x" * 900_000]})}).id
    assert "Too large to show: 879.0\xa0KB." in text_of(page_of(client, project))


def test_lists_of_any_name_are_counted(client: Client) -> None:
    items = json.dumps({"items": [{"id": f"e{number}", "text": "x" * 40} for number in range(10_000)], 'a b"c': []})
    project = ProjectFactory(
        documents={"eligibility": items, "coverage": '{"requirements": [{"status": "items"}]}'}
    ).id
    text = text_of(page_of(client, project))
    assert "Shows and counts the first 50 of 10,000 items." in text
    assert '<span class="agentstate-requirement-status" data-status="items">' in text


def test_large_documents_that_differ_are_named_without_paths(client: Client) -> None:
    project = ProjectFactory(documents={"conflictLog": CONFLICTS, "facts": "1"}).id
    scenes.forward(project, sessions=False)
    write_columns(project, {"conflictLog": "[1]", "facts": "2"})
    page = page_of(client, project)
    assert [path.path for _, path in page.context["differing"].paths] == ["facts"]

    page = page_of(client, project, compare=1)
    assert [path.path for _, path in page.context["differing"].paths] == ["facts"]
    assert page.context["large_changes"] == ["conflictLog"]
    assert "Too large to compare here." in text_of(page)


def test_large_documents_in_sync_are_compared_on_request(client: Client) -> None:
    project = ProjectFactory(documents={"conflictLog": BULKY}).id
    scenes.forward(project, sessions=False)
    scenes.damage(project, conflictLog="[]")
    page = page_of(client, project)
    assert "the clocks say that the homes are equal" in text_of(page)
    assert page.context["where"].word == "in_sync"
    assert page_of(client, project, compare=1).context["where"].word == "unequal"


def test_the_page_of_large_documents_takes_little_memory(client: Client) -> None:
    project = ProjectFactory(documents={"conflictLog": CONFLICTS, "facts": FACTS}).id
    scenes.forward(project, sessions=False)
    page_of(client, project)
    tracemalloc.start()
    try:
        page_of(client, project, moment=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("reads", [False, True])
def test_the_page_names_the_home_that_a_read_comes_from(reads: bool) -> None:
    def agree(project: str) -> None:
        loaded = state.load(project, counts=False)
        shown = read_documents(project, RequestFactory().get("/"), chosen=None, before=None)
        assert (shown.source, shown.fell_back, shown.standing, shown.as_of, shown.is_behind) == (
            loaded.source,
            loaded.fell_back,
            loaded.standing,
            loaded.as_of,
            loaded.behind,
        )

    scenes.open_gates(agentkit_reads=reads)
    agree(ProjectFactory().id)
    project = ProjectFactory(documents={"facts": "1"}).id
    agree(project)
    scenes.forward(project, sessions=False)
    agree(project)
    write_columns(project, {"facts": "2"})
    agree(project)
    scenes.forward(project, sessions=False)
    scenes.save(project, "facts", "3", legacy=False, reads_agentkit=reads)
    agree(project)
    write_columns(project, {"facts": "4"})
    agree(project)
