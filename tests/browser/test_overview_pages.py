"""The app's own page, usage and storage, in a browser."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.urls import reverse as url_of
from django.utils import timezone

from tests.browser.conftest import DESKTOP, PHONE, fits
from tests.factories import EventFactory, RunFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

ADDRESSES = [
    url_of("admin:app_list", args=["agentstate"]),
    url_of("admin:agentstate_usage_changelist"),
    url_of("admin:agentstate_storage_changelist"),
]


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_each_page_fits_and_passes_axe(page: Page, accessible: Callable[..., None]) -> None:
    usage = {"requests": 12, "input_tokens": 1_234_567, "output_tokens": 89, "cost_usd": 12.5, "unpriced_requests": 2}
    for name in ("draft", "n" * 100):
        run = RunFactory(
            workflow_id=name, status="failed", usage=usage, started_at=timezone.now() - timedelta(minutes=5)
        )
        EventFactory(run=run)
    for address in ADDRESSES:
        for width in (PHONE["width"], 1024, DESKTOP["width"]):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(address)
            assert fits(page), (address, width)
        accessible()
