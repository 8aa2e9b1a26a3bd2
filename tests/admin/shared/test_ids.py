"""Ids are whole on hover, and have a button that copies them, wherever they stand."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.admin.utils import quote
from django.urls import reverse as url_of

from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory, RunFactory, SessionFactory

pytestmark = pytest.mark.django_db

RUN, SESSION, PROJECT = (f'{kind}-{"x" * 200}-"&' for kind in ("run", "session", "project"))


def copied(page: str) -> set[str]:
    """Return the ids that a page has buttons for. Each must be whole on hover too."""
    assert "agentstate/copy.js" in page
    found = re.findall(r'<bdi title="([^"]*)" data-copy="([^"]*)"', page)
    assert all(title == whole for title, whole in found)
    return {unescape(whole) for _, whole in found}


def test_shortened_ids_are_whole_on_hover_and_can_be_copied() -> None:
    project = ProjectFactory(id=PROJECT, name="Trails")
    run = RunFactory(id=RUN, project=project)
    SessionFactory(id=SESSION, project=project, agent_run=run, memory_id="memory-1")
    other = RunFactory(id="other", project=project, status="failed", error="x")
    client = superuser()

    def ids(view: str, *args: str, **query: str) -> set[str]:
        response = client.get(url_of(f"admin:agentstate_{view}", args=[*map(quote, args)]), query)
        assert response.status_code == 200
        return copied(response.text)

    assert ids("agentworkflowrun_changelist") == {RUN, other.pk}
    assert ids("agentworkflowrun_change", RUN) == {RUN, SESSION}
    assert ids("agentworkflowrun_compare", RUN, other=other.pk) == {RUN, other.pk}
    assert ids("agentworkflowrun_errors") == {other.pk}
    assert ids("agentsession_changelist") == {SESSION}
    assert ids("agentsession_change", SESSION) == {SESSION, "memory-1"}
    assert {PROJECT, RUN, SESSION} <= ids("project_change", PROJECT)


def test_a_link_by_name_has_the_whole_id_on_hover_also_for_those_who_may_not_follow_it() -> None:
    RunFactory(project=ProjectFactory(id="p1", name="Trails"))
    list_ = url_of("admin:agentstate_agentworkflowrun_changelist")
    for client in (superuser(), viewer("agentworkflowrun")):
        assert '<bdi title="p1">Trails</bdi>' in client.get(list_).text
