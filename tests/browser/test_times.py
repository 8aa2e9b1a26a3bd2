"""Times in a browser: in UTC, and on request in the browser's zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from django.urls import reverse as url_of
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, log_in, own_page
from tests.factories import RunFactory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page
    from pytest_django.live_server_helper import LiveServer

LIST = url_of("admin:agentstate_agentworkflowrun_changelist")
IN_UTC, IN_TEHRAN = "2024-05-01 22:00:00 UTC", "2024-05-02 01:30:00 +03:30"


@pytest.fixture
def page(browser: Browser, live_server: LiveServer, transactional_db: None) -> Iterator[Page]:
    """A page whose browser is in a zone that differs from UTC by more than whole hours."""
    with own_page(browser, live_server, viewport=DESKTOP, timezone_id="Asia/Tehran") as page:
        log_in(page, live_server)
        yield page


def test_the_switch_shows_all_times_in_the_browsers_zone_and_is_remembered(page: Page) -> None:
    run = RunFactory(started_at=datetime(2024, 5, 1, 22, 0, 0, 123456, tzinfo=UTC))
    page.goto(LIST)
    time = page.locator("#result_list time")
    expect(time).to_have_text(IN_UTC)

    page.get_by_role("button", name="Times: UTC").click()

    expect(time).to_have_text(IN_TEHRAN)
    expect(time).to_have_attribute("title", "2024-05-02 01:30:00.123456 +03:30")
    page.goto(url_of("admin:agentstate_agentworkflowrun_change", args=[run.id]))
    expect(page.locator("[data-part=started] time")).to_have_text(IN_TEHRAN)
    # As pages do that load parts of themselves later:
    page.locator("#content").evaluate(
        "(content, text) => content.insertAdjacentHTML('beforeend', text)",
        f'<p><time datetime="2024-05-01T22:00:00Z">{IN_UTC}</time></p>',
    )
    expect(page.locator("#content > p time")).to_have_text(IN_TEHRAN)

    page.get_by_role("button", name="Times: Asia/Tehran").click()

    expect(page.locator("[data-part=started] time")).to_have_text(IN_UTC)
