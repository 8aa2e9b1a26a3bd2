"""What people look for on a project's page and do there, in a browser: from the landing page to the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.utils import quote
from django.urls import reverse as url_of
from playwright.sync_api import expect

from agentstate.models import BackfillPass
from agentstate.recording import record
from tests import scenes
from tests.browser.conftest import DESKTOP, PHONE, fits
from tests.factories import ProjectFactory, RunFactory, SessionFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

DRAFTED = '{"score": 0.5, "requirements": [{"id": "R", "status": "drafted"}, {"id": "S", "status": "drafted"}]}'


def project_with_a_setback() -> tuple[str, str]:
    """Make a project whose requirement R became missing again, and return it and the run that did it."""
    project = ProjectFactory(name="Trails", documents={"coverage": DRAFTED, "facts": "1"}).id
    scenes.open_gates(agentkit_writes=True, legacy_writes=True, agentkit_reads=True)
    scenes.forward(project, sessions=False)
    with record("review", project) as run:
        run.save(
            coverage={
                "score": 0.2,
                "requirements": [{"id": "S", "status": "drafted"}, {"id": "R", "status": "missing"}],
            }
        )
    with record("intake", project) as later:
        later.save(facts=2)
    return project, run.run_id


def forked() -> str:
    project = ProjectFactory(name="Harbor", documents={"coverage": '{"score": 0.1}', "facts": "1"}).id
    scenes.forward(project, sessions=False)
    scenes.save(project, "coverage", '{"score": 0.2}', legacy=False)
    scenes.change_columns(project, coverage={"score": 0.3}, facts=2)
    return project


def test_which_run_made_a_requirement_missing_again(page: Page, accessible: Callable[..., None]) -> None:
    _, guilty = project_with_a_setback()
    page.goto(url_of("admin:agentstate_project_changelist"))
    page.locator("#result_list").get_by_role("link").first.click()
    page.get_by_role("link", name="who set it for R").click()
    newest = page.locator(".agentstate-history tbody tr").first
    expect(newest).to_contain_text('"missing"')
    expect(newest).to_contain_text('"drafted"')
    accessible("#content-main")
    newest.get_by_role("link", name=guilty).click()
    page.wait_for_url(f"**/agentworkflowrun/{guilty}/change/**")


def test_the_table_of_moments_and_the_plot_lead_to_a_moment(page: Page) -> None:
    project, _ = project_with_a_setback()
    page.goto(url_of("admin:agentstate_project_change", args=[quote(project)]))
    page.get_by_role("link", name="All moments, with what changed").click()
    page.get_by_label("Document").select_option("coverage")
    page.get_by_role("button", name="Show").click()
    rows = page.locator(".agentstate-history tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("R: drafted → missing")
    rows.first.get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Moment 2 of 3")).to_be_visible()
    point = page.get_by_role("link", name="Score 0.5,")
    point.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Moment 1 of 3")).to_be_visible()


def test_a_fork_is_settled_with_a_reason(page: Page, accessible: Callable[..., None]) -> None:
    project = forked()
    page.goto(url_of("admin:agentstate_project_changelist") + "?standing=forked")
    page.locator("#result_list").get_by_role("link").first.click()
    decide = page.get_by_role("region", name="Decide")
    expect(decide).to_contain_text("A person must decide: both homes changed coverage")
    decide.get_by_role("link", name="Keep the columns…").click()
    expect(page.get_by_role("region", name="What gives way")).to_contain_text(
        "coverage: 14 bytes of the newest snapshot"
    )
    accessible("#content-main")
    page.get_by_label("Reason").fill("The call changed")
    page.get_by_role("button", name="Keep the columns").click()
    expect(page.get_by_text("Keep the columns: done.")).to_be_visible()
    expect(page.get_by_role("region", name="Decide")).to_have_count(0)
    assert scenes.standing_of(project) == "agentkit_ahead"
    assert BackfillPass.objects.latest("pk").options["reason"] == "The call changed"


@pytest.mark.parametrize(
    ("screen", "color_scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone, dark", "desktop, light"]
)
def test_the_pages_fit_and_everybody_can_read_them(page: Page, accessible: Callable[..., None]) -> None:
    project, _ = project_with_a_setback()
    disputed = forked()
    RunFactory()
    session = SessionFactory(transcript_json=[{"role": "user", "content": "Which deadline?"}])
    for address in (
        url_of("admin:agentstate_project_change", args=[quote(project)]),
        url_of("admin:agentstate_project_change", args=[quote(disputed)]),
        url_of("admin:agentstate_project_settle", args=[quote(disputed)]) + "?choice=snapshot",
        url_of("admin:agentstate_project_history_table", args=[quote(project)]),
        url_of("admin:agentstate_project_blame", args=[quote(project)]) + "?path=coverage.requirements[id=R].status",
        url_of("admin:agentstate_agentsession_change", args=[session.pk]) + "?q=deadline",
    ):
        page.goto(address)
        assert fits(page), address
        accessible("#content-main")
