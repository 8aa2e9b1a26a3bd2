"""Approving and rejecting what waits, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from agentstate.approvals import decided_runs
from tests.admin.run.run_pages import address
from tests.browser.conftest import at_each_size, fits
from tests.factories import WaitingRunFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page


def test_one_call_is_approved_and_another_rejected(page: Page, accessible: Callable[..., None]) -> None:
    run = WaitingRunFactory(calls=["call-1", "call/2 & more"])
    page.goto(address(run))
    waiting = page.get_by_role("region", name="Waits for approval").get_by_role("listitem")
    expect(waiting).to_have_count(2)
    expect(waiting.first).to_contain_text('"to": "ada@example.org"')
    for _ in at_each_size(page):
        assert fits(page)
        accessible()

    waiting.first.get_by_role("link", name="Approve… send_mail").click()
    expect(page.get_by_text("The tool runs with these arguments when the run is resumed.")).to_be_visible()
    for _ in at_each_size(page):
        assert fits(page)
        accessible()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Approved: send_mail. 1 other call still lacks a decision")).to_be_visible()
    expect(waiting.first).to_contain_text("Approved by ada")

    waiting.last.get_by_role("link", name="Reject… send_mail").click()
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("This field is required.")).to_be_visible()
    for _ in at_each_size(page):
        accessible()
    page.get_by_label("Reason").fill("Not to strangers.")
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("Every call has a decision now")).to_be_visible()
    expect(waiting.last).to_contain_text("Rejected by ada")
    assert decided_runs() == [run]
