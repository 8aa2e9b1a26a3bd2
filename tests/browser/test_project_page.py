"""The page of a project, in a browser."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.utils import quote
from django.urls import reverse as url_of
from django.utils import timezone
from playwright.sync_api import expect

from tests import scenes
from tests.browser.conftest import DESKTOP, at_each_size, fits, log_in, own_page
from tests.factories import ProjectFactory
from tests.worked_example import ODD, REQUIREMENTS, USUAL, WorkedExample, worked_example

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from playwright.sync_api import Browser, Locator, Page, Route
    from pytest_django.live_server_helper import LiveServer


def open_page(page: Page, project: str, query: str = "") -> None:
    page.goto(url_of("admin:agentstate_project_change", args=[quote(project)]) + query)


def panel(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Moment")


def expect_moment(page: Page, example: WorkedExample, number: int) -> None:
    """Expect what the worked example shows at a moment, whatever the shapes of its documents."""
    expect(page.get_by_role("heading", name=f"Moment {number} of 5")).to_be_visible()
    expect(panel(page, "Coverage").get_by_role("img", name=f"Score {'0.2' if number == 1 else '0.5'}")).to_be_visible()
    expect(page.get_by_role("link", name=example.runs[number - 1]).first).to_be_visible()
    fatal = panel(page, "Eligibility").get_by_text("Must be a 501(c)(3)")
    expect(fatal).to_have_count(1 if number == 5 else 0)
    changed = page.locator(".agentstate-changes [data-key]")
    keys = {2: "coverage", 3: "conflictLog", 4: "facts", 5: "eligibility"}
    if number > 1:
        expect(changed).to_have_count(1)
        expect(changed).to_have_attribute("data-key", keys[number])
    else:
        expect(changed).to_have_count(4)


def test_coverage_conflicts_and_eligibility_render(page: Page, accessible: Callable[..., None]) -> None:
    open_page(page, worked_example().project)

    coverage = panel(page, "Coverage")
    expect(coverage.get_by_role("img", name="Score 0.5")).to_be_visible()
    expect(coverage.get_by_role("group", name="The score over time")).to_be_visible()
    expect(coverage.get_by_role("listitem").filter(has_text="req_2")).to_contain_text("A letter of support")
    conflicts = panel(page, "Conflicts")
    expect(conflicts.get_by_role("listitem").filter(has_text="budget")).to_contain_text("resolved: latest")
    expect(conflicts.get_by_role("listitem").filter(has_text="timeline")).to_contain_text("v1")
    expect(panel(page, "Eligibility").get_by_role("listitem").filter(has_text="501(c)(3)")).to_contain_text("fatal")
    assert fits(page)
    for fold in page.locator("#content-main details").all():
        fold.evaluate("fold => { fold.open = true }")
    for _ in at_each_size(page):
        assert fits(page)
        accessible("#content-main")


@pytest.mark.parametrize("score", ["0.5", "0.123456", "-0.123456", "1e400", "-1.2345e-300"])
def test_any_score_fits_into_its_gauge(page: Page, score: str) -> None:
    open_page(page, ProjectFactory(documents={"coverage": score}).id)
    width = page.locator(".agentstate-gauge text").evaluate("text => text.getBBox().width")
    assert 0 < width < 76


@pytest.mark.parametrize("documents", [USUAL, ODD], ids=["usual", "odd"])
def test_the_slider_goes_through_the_history(page: Page, documents: dict[str, list[Any]]) -> None:
    example = worked_example(documents)
    open_page(page, example.project)
    expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible()
    expect(slider(page)).to_have_value("6")

    for number in (1, 2, 3, 4, 5):
        slider(page).fill(str(number))
        expect_moment(page, example, number)
        expect(page.get_by_role("status")).to_contain_text(f"Moment {number} of 5")
        page.wait_for_url("**/change/?at=*")
    page.reload()
    expect_moment(page, example, 5)
    expect(slider(page)).to_have_value("5")

    slider(page).fill("6")
    expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible()
    page.wait_for_url("**/change/")


@pytest.fixture
def page_with_a_clock(browser: Browser, live_server: LiveServer, transactional_db: None) -> Iterator[Page]:
    """A page whose clock the test stops, which nothing sets going again."""
    with own_page(browser, live_server, viewport=DESKTOP) as page:
        log_in(page, live_server)
        page.clock.install()
        yield page


def test_an_answer_that_comes_late_does_not_move_the_slider_under_the_hand(page_with_a_clock: Page) -> None:
    page, example = page_with_a_clock, worked_example()
    open_page(page, example.project)
    page.clock.pause_at(timezone.now() + timedelta(hours=1))
    held: list[Route] = []
    page.route("**/moment/?moment=2", lambda route: held.append(route))
    slider(page).fill("2")
    with page.expect_request("**/moment/?moment=2"):
        page.clock.run_for(200)
    slider(page).fill("4")
    held.pop().continue_()
    page.wait_for_timeout(300)
    expect(slider(page)).to_have_value("4")
    page.clock.run_for(200)
    expect_moment(page, example, 4)


def test_the_page_works_by_keyboard(page: Page) -> None:
    example = worked_example()
    open_page(page, example.project)
    slider(page).focus()
    page.keyboard.press("ArrowLeft")
    expect_moment(page, example, 5)
    page.keyboard.press("Home")
    expect_moment(page, example, 1)
    expect(slider(page)).to_be_focused()

    page.get_by_role("link", name="Later").focus()
    page.keyboard.press("Enter")
    expect_moment(page, example, 2)
    expect(page.get_by_role("link", name="Later")).to_be_focused()
    expect(slider(page)).to_have_value("2")

    page.locator("#agentstate-facts > summary").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Earlier").focus()
    page.keyboard.press("Enter")
    expect_moment(page, example, 1)
    expect(page.locator("#agentstate-facts")).to_have_attribute("open", "")


def test_the_page_works_without_scripts(page: Page) -> None:
    example = worked_example()
    page.route("**/project.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    open_page(page, example.project)
    page.get_by_role("link", name="Earlier").click()
    expect_moment(page, example, 5)
    slider(page).fill("2")
    page.get_by_role("button", name="Show").click()
    expect_moment(page, example, 2)
    page.locator("#agentstate-moments > summary").click()
    page.locator("#agentstate-moments li").nth(2).get_by_role("link").first.click()
    expect_moment(page, example, 3)


def test_a_logged_out_user_who_moves_the_slider_is_sent_to_the_login(page: Page) -> None:
    open_page(page, worked_example().project)
    page.context.clear_cookies()
    slider(page).fill("2")
    expect(page.get_by_label("Username:")).to_be_visible()


def test_both_homes_are_side_by_side(page: Page, accessible: Callable[..., None]) -> None:
    project = worked_example().project
    damaged = [*REQUIREMENTS[:3], {**REQUIREMENTS[3], "status": "missing"}]
    scenes.damage(project, coverage=json.dumps({"score": 0.5, "requirements": damaged}))
    open_page(page, project)

    expect(page.locator(".agentstate-standing")).to_have_text("unequal")
    side_by_side = panel(page, "Both homes")
    row = side_by_side.get_by_role("row").filter(has_text="coverage.requirements[3].status")
    expect(row).to_contain_text("coverageJson.requirements[3].status")
    expect(row.get_by_role("cell")).to_have_text(['"missing"', '"evidenced"'])
    side_by_side.locator("[data-key=coverage] > summary").click()
    expect(side_by_side.get_by_label("coverage in the legacy")).to_contain_text('"missing"')
    expect(side_by_side.get_by_label("coverage in the snapshot")).to_contain_text('"evidenced"')
    for _ in at_each_size(page):
        assert fits(page)
        accessible("#content-main")


def test_hostile_documents_break_nothing(page: Page, accessible: Callable[..., None]) -> None:
    hostile = json.dumps("</textarea><script>alert(1)</script>\u202e" + "x" * 5_000)
    deep = "[" * 3_000 + hostile + "]" * 3_000
    documents = {
        "coverage": f'{{"requirements": [{{"id": {hostile}, {hostile}: {deep}}}]}}',
        "conflictLog": f"[{hostile}, {deep}]",
        "eligibility": hostile,
        "facts": deep,
    }
    project = ProjectFactory(documents=documents, name=json.loads(hostile)).id
    scenes.forward(project, sessions=False)
    open_page(page, project)
    expect(panel(page, "Eligibility")).to_contain_text("<script>alert(1)</script>")
    for fold in page.locator("#content-main details").all():
        fold.evaluate("fold => { fold.open = true }")
    for _ in at_each_size(page):
        assert fits(page)
        accessible("#content-main")


def test_the_list_leads_to_a_project(page: Page, accessible: Callable[..., None]) -> None:
    ProjectFactory(id="grants/2024 ü", name="School gardens")
    page.goto(url_of("admin:agentstate_project_changelist"))
    for _ in at_each_size(page):
        accessible("#changelist-form")
    page.get_by_role("link", name="grants/2024 ü").click()
    expect(page.get_by_role("heading", name="School gardens")).to_be_visible()
