"""The interactive pages of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.factories import ProjectFactory

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_staff_try_a_route_under_the_strict_policy(page: Page) -> None:
    project = ProjectFactory(documents={"facts": '{"a": 0.30000000000000004}'})

    page.goto("/api/v1/docs")
    page.locator("#operations-state-read_state .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_placeholder("project_id").fill(project.pk)
    page.get_by_role("button", name="Execute").click()

    expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(page.locator(".live-responses-table .microlight").first).to_contain_text(project.pk)
