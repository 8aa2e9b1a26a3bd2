"""What Django's own pages have around their content, in a browser: ours look the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.urls import reverse as url_of
from playwright.sync_api import expect

from tests.factories import RunFactory

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOOK_OF_PLACES = """places => {
  const own = getComputedStyle(places), link = getComputedStyle(places.querySelector("a"));
  return [own.backgroundColor, own.color, own.padding, link.color];
}"""


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_the_line_of_places_looks_like_djangos_own(page: Page) -> None:
    page.goto(url_of("admin:agentstate_agentworkflowrun_changelist"))
    djangos = page.locator(".breadcrumbs").evaluate(LOOK_OF_PLACES)
    page.goto(url_of("admin:agentstate_agentworkflowrun_change", args=[RunFactory().id]))
    assert page.locator(".breadcrumbs").evaluate(LOOK_OF_PLACES) == djangos


def test_the_links_of_a_run_stand_beside_its_title(page: Page) -> None:
    page.goto(url_of("admin:agentstate_agentworkflowrun_change", args=[RunFactory().id]))
    links = page.locator(".object-tools")
    expect(links).to_be_visible()
    title, tools = page.locator("h1").bounding_box(), links.bounding_box()
    assert title is not None
    assert tools is not None
    assert tools["y"] < title["y"] + title["height"]
