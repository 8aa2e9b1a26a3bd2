"""A session's page, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import reverse as url_of
from playwright.sync_api import expect

from agentstate.models import AgentSession, AgentSessionEntry
from tests.browser.conftest import at_each_size, fits
from tests.factories import ProjectFactory, RunFactory, SessionFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

NASTY = "<script>alert(1)</script></textarea>\u202egnihtyna"
TRANSCRIPT: list[Any] = [
    {"role": "user", "content": f"Which deadline applies?\n\n{NASTY}", "at": "2024-05-01T12:00:00Z"},
    {"role": "assistant", "content": "The portal's.", "at": "2024-05-01T12:00:05Z"},
    {"role": "tool", "content": {"tool": "search", "output": [1, {"deep": True}]}, "at": "2024-05-01T12:00:06Z"},
    "just text",
    {"content": "no role"},
    {"role": "assistant", "content": "x" * 5_000_000, "at": NASTY},
]


def address_of(session: Any, query: str = "") -> str:
    return url_of("admin:agentstate_agentsession_change", args=[session.pk]) + query


def make_session(transcript: list[Any]) -> Any:
    run = RunFactory(project=ProjectFactory(name=f"Trails {NASTY}"))
    return SessionFactory(project=run.project, agent_run=run, memory_id="memory", transcript_json=transcript)


def said(page: Page, number: int) -> Locator:
    return page.locator(f"#entry-{number} .agentstate-said")


def test_the_page_fits_and_passes_axe(page: Page, accessible: Callable[..., None]) -> None:
    page.goto(address_of(make_session(TRANSCRIPT)))
    expect(page.get_by_role("listitem").filter(has_text="Which deadline applies?")).to_be_visible()
    expect(page.locator("#entry-3")).to_contain_text('"tool": "search"')
    for _ in at_each_size(page):
        assert fits(page)
        accessible()


def test_raw_items_unfold_by_keyboard(page: Page) -> None:
    page.goto(address_of(make_session(TRANSCRIPT)))
    raw = page.locator("#entry-2 details")
    expect(raw.locator("pre")).to_be_hidden()
    raw.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(raw.locator("pre")).to_be_visible()
    expect(raw.locator("pre")).to_contain_text('"role": "assistant"')


def test_long_content_is_loaded_on_demand(page: Page, accessible: Callable[..., None]) -> None:
    page.goto(address_of(make_session(TRANSCRIPT)))
    page.get_by_role("link", name="Show more of entry 6").click()
    expect(page.get_by_role("link", name="Download entry 6 as JSON")).to_be_visible()
    assert fits(page)
    assert page.locator(".agentstate-said").evaluate("said => said.textContent.length") == 500_000
    accessible()
    page.get_by_role("link", name="memory").click()
    expect(page.locator("#entry-1")).to_be_visible()


def test_a_long_conversation_is_paged_through(page: Page) -> None:
    entries = [{"role": "user", "content": f"entry number {number}."} for number in range(1, 121)]
    session = make_session(entries[:60])
    AgentSessionEntry.objects.bulk_create(
        AgentSessionEntry(session=session, number=number, entry=entries[number - 1]) for number in range(61, 121)
    )
    AgentSession.objects.update(further=120)
    page.goto(address_of(session))
    expect(said(page, 120)).to_be_visible()
    page.get_by_role("link", name="First").first.click()
    expect(said(page, 50)).to_be_visible()
    page.get_by_role("link", name="Later").first.click()
    expect(said(page, 51)).to_be_visible()
    expect(said(page, 61)).to_have_text("entry number 61.")
    page.get_by_role("link", name="Latest").first.click()
    expect(said(page, 120)).to_be_visible()
    page.get_by_role("link", name="First").first.click()
    expect(said(page, 1)).to_be_visible()


def test_an_entry_has_an_address_of_its_own(page: Page) -> None:
    entries = [{"role": "user", "content": f"entry number {number}."} for number in range(1, 121)]
    page.goto(address_of(make_session(entries)))
    page.get_by_role("link", name="Entry 80", exact=True).click()
    page.wait_for_url("**/?from=80#entry-80")
    expect(page.locator("#entry-80")).to_be_in_viewport()
    page.get_by_label("Go to a number or a time").fill("40")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?from=40#entry-40")
    page.get_by_label("Text").fill("number 7.")
    page.keyboard.press("Enter")
    expect(page.locator("#entry-7")).to_be_visible()
