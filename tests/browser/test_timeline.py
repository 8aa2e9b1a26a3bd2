"""A run's page, in a browser: its timeline, its filters, and a run that is followed as it happens."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.utils import quote
from django.urls import reverse as url_of
from playwright.sync_api import expect

from agentstate.recording import events, record
from tests import scenes
from tests.admin.run.timeline.scenes import add_call, add_event, add_events, make_run
from tests.browser.conftest import DESKTOP, PHONE, at_each_size, fits
from tests.factories import ProjectFactory, SessionFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page, Route

    from agentstate.recording import Recorder

NASTY = '<script>alert(1)</script></textarea></pre>"\u202e&amp;'


def append(run_id: str, written: list[tuple[str, object]]) -> None:
    """Write events of a run, as its recorder does."""
    events.append(run_id, written)


def open_run(page: Page, run_id: str, query: str = "") -> None:
    page.goto(url_of("admin:agentstate_agentworkflowrun_change", args=[quote(run_id)]) + query)


def rows(page: Page) -> Locator:
    return page.get_by_role("list", name="Events").locator("> li.agentstate-event")


def row(page: Page, text: str) -> Locator:
    return rows(page).filter(has_text=text)


def work(run: Recorder) -> None:
    """Do what an agent does: call tools, save what came of it, fail now and then."""
    with run.tool("normalize_rfp", {"upload": "rfp.pdf"}) as call:
        call.output = {"sections": 7}
    run.save(coverage={"score": 0.42})
    with suppress(TimeoutError), run.tool("search_grants", {"query": "health"}):
        raise TimeoutError("no answer")
    conflict = {"type": "section_conflict", "key": "budget", "previous": {"version": 1}, "next": {"version": 2}}
    run.save(
        coverage={"score": 0.61},
        conflict_log=[conflict],
        eligibility={"items": [{"id": "e", "text": "must be a 501(c)(3)", "fatal": True}]},
    )
    run.save(conflict_log=[conflict | {"resolved": "latest"}])
    run.event("draft.progress", {"section": "need", "done": 3})
    run.set_output({"pages": 6})


@pytest.fixture
def recorded() -> str:
    """Record a run that fails in the end, and return its id."""
    scenes.open_gates(agentkit_writes=True)
    project = ProjectFactory(name="Oyster Reef Recovery", documents={"coverage": '{"score": 0.1}'})
    with suppress(ValueError), record("intake", project.id, {"documents": ["rfp.pdf"]}) as run:
        SessionFactory(project=project, agent_run=run.run)
        work(run)
        raise ValueError("no page 7")
    return run.run_id


def test_a_run_reads_in_order(page: Page, recorded: str, accessible: Callable[..., None]) -> None:
    open_run(page, recorded)

    expect(page.get_by_role("region", name="ValueError: no page 7")).to_contain_text("Traceback")
    for name in ("Oyster Reef Recovery", "Download JSON", "Previous run"):
        expect(page.get_by_role("link", name=name)).to_be_visible()
    for line in (
        "coverage 0.1 → 0.42",
        "coverage 0.42 → 0.61",
        "saved coverage",
        "conflict in section budget: v1 → v2",
        "conflict in section budget resolved: latest",
        "eligibility, fatal: must be a 501(c)(3)",
        'draft progress: done: 3, section: "need"',
    ):
        expect(rows(page).get_by_text(line, exact=True).first).to_be_visible()
    expect(row(page, "tool normalize_rfp")).to_have_count(1)
    failed = row(page, "tool search_grants")
    expect(failed).to_contain_text("failed")
    expect(failed).to_contain_text("TimeoutError: no answer")
    expect(failed.locator("svg.agentstate-bar rect")).to_be_visible()
    failed.locator("> details > summary").click()
    expect(failed).to_contain_text('"query": "health"')
    for _ in at_each_size(page):
        assert fits(page)
        accessible()


def test_filters_and_the_search_narrow_the_timeline(
    page: Page, recorded: str, accessible: Callable[..., None]
) -> None:
    open_run(page, recorded)
    everything = rows(page).count()

    page.get_by_role("link", name="tool 2").click()
    expect(rows(page)).to_have_count(2)
    page.get_by_role("link", name="Failures only").click()
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("search_grants")
    accessible()
    page.get_by_role("link", name="Show all").click()
    expect(rows(page)).to_have_count(everything)

    page.get_by_label("Text in payloads").fill("must be a 501")
    page.get_by_role("button", name="Search").click()
    expect(rows(page)).not_to_have_count(everything)
    expect(row(page, "eligibility, fatal")).to_be_visible()
    page.get_by_label("Text in payloads").fill("nothing like this")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No event matches.")).to_be_visible()


def test_a_run_is_followed_as_it_happens(page: Page, accessible: Callable[..., None]) -> None:
    scenes.open_gates(agentkit_writes=True)
    project = ProjectFactory()
    status = page.locator("[data-part=status]")
    with record("intake", project.id) as run:
        open_run(page, run.run_id)
        expect(page.get_by_text("Live.")).to_be_visible()
        expect(page.get_by_text("No events yet.")).to_be_visible()

        run.event("draft.progress", {"section": "need"})
        expect(row(page, "draft progress")).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("Live: 1 new event.")
        expect(page.get_by_role("link", name="draft.progress 1")).to_be_visible()

        with run.tool("normalize_rfp") as call:
            expect(row(page, "tool normalize_rfp running")).to_be_visible()
            call.output = {"sections": 7}
        expect(row(page, "running")).to_have_count(0)
        expect(row(page, "tool normalize_rfp, ")).to_have_count(1)

        run.save(coverage={"score": 0.5})
        expect(row(page, "coverage none → 0.5")).to_be_visible()
        expect(status).to_contain_text("running")
        accessible()
    expect(status).to_contain_text("succeeded")
    expect(page.get_by_role("status")).to_have_text("No longer running: succeeded.")
    expect(page.locator("[data-part=duration]")).not_to_contain_text("so far")
    texts = rows(page).all_inner_texts()
    page.reload()
    assert [text.split() for text in texts] == [text.split() for text in rows(page).all_inner_texts()]


def test_following_does_not_move_what_is_being_read(page: Page) -> None:
    run = make_run(status="running")
    add_event(run, "note", '{"n": "first"}', 1)
    open_run(page, run.pk)
    summary = rows(page).first.locator("> details > summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(rows(page).first.locator("pre")).to_be_visible()
    append(run.pk, [("note", {"n": number}) for number in range(60)])
    expect(rows(page)).to_have_count(61)
    expect(summary).to_be_focused()
    expect(rows(page).first.locator("pre")).to_be_visible()
    assert page.evaluate("window.scrollY") == 0


def test_the_result_of_an_unfolded_call_arrives_by_itself(page: Page) -> None:
    run = make_run(status="running")
    add_call(run, "a", 1, None)
    open_run(page, run.pk)
    rows(page).first.locator("> details > summary").click()
    expect(rows(page).first.locator("pre")).to_have_count(1)
    append(run.pk, [("tool.result", {"call_id": "a", "tool": "fetch", "status": "ok", "output": "the answer"})])
    expect(rows(page).first.locator("pre")).to_have_count(2)
    expect(rows(page).first.locator("pre").last).to_contain_text('"output": "the answer"')
    append(run.pk, [("tool.invocation", {"call_id": "b", "tool": "b"}), ("note", "later")])
    expect(row(page, "note: later")).to_be_visible()
    expect(rows(page).first.locator("pre")).to_have_count(2)


def test_a_busy_runs_events_slide_by(page: Page) -> None:
    run = make_run(status="running")
    add_events(run, 100)
    open_run(page, run.pk)
    expect(rows(page)).to_have_count(100)
    append(run.pk, [("note", number) for number in range(30)])
    expect(row(page, "note: 29")).to_be_visible()
    expect(rows(page)).to_have_count(100)
    rows(page).first.locator("> details > summary").click()
    append(run.pk, [("note", number) for number in range(30, 60)])
    expect(row(page, "note: 59")).to_be_visible()
    expect(rows(page)).to_have_count(101)
    expect(rows(page).first.locator("pre")).to_be_visible()
    expect(page.get_by_role("link", name="Earlier").first).to_be_visible()


def test_following_retries_when_the_server_does_not_answer(page: Page, complaints: list[str]) -> None:
    run = make_run(status="running")
    add_event(run, "note", '"first"')
    open_run(page, run.pk)
    page.route("**/live/**", lambda route: route.abort())
    expect(page.get_by_role("status")).to_contain_text("No answer. Retrying in")
    page.unroute("**/live/**")
    append(run.pk, [("note", "second")])
    expect(row(page, "note: second")).to_be_visible()
    assert complaints
    del complaints[:]  # the aborted requests


def test_a_link_leads_to_its_event(page: Page, accessible: Callable[..., None]) -> None:
    run = make_run()
    add_events(run, 500)
    open_run(page, run.pk, f"?event={run.pk}-300")
    chosen = row(page, "draft progress: n: 301").locator("xpath=preceding-sibling::li[1]")
    expect(chosen).to_be_in_viewport()
    expect(chosen.locator("pre")).to_be_visible()
    accessible()

    chosen.get_by_role("link", name="Link to this event").click()
    expect(page).to_have_url(re.compile(r"\?event=.*-300#chosen$"))
    expect(page.locator(":target")).to_be_in_viewport()


def test_a_pair_that_a_page_divides_is_one_click_from_whole(page: Page) -> None:
    run = make_run()
    add_call(run, "a", 1, 300, duration_ms="299000")
    for place in range(2, 200):
        add_event(run, "note", at=place)
    open_run(page, run.pk)
    page.get_by_role("link", name="Go to its result").click()
    expect(rows(page).last).to_contain_text("tool fetch, 4 min 59 s")
    page.get_by_role("link", name="Go to the call").click()
    expect(rows(page).first).to_be_in_viewport()


def test_large_payloads_are_loaded_when_they_are_unfolded(page: Page, accessible: Callable[..., None]) -> None:
    run = make_run(input={"text": "i" * 50_000})
    add_event(run, "note", json.dumps({"text": "x" * 5_000_000}), 1)
    add_event(run, "note", "[" * 5_000 + "]" * 5_000, 2)
    open_run(page, run.pk)
    expect(page.get_by_text("x" * 500)).to_have_count(0)

    rows(page).first.locator("> details > summary").click()
    expect(rows(page).first.locator("pre")).to_contain_text("xxxxx")
    expect(rows(page).first).to_contain_text("The first 200,000 of 5,000,012 characters.")
    rows(page).nth(1).locator("> details > summary").click()
    expect(rows(page).nth(1).locator("pre")).to_contain_text("[\n")
    page.get_by_text("Input", exact=True).click()
    expect(page.locator("[data-part=input] pre")).to_contain_text("iiiii")
    assert fits(page)
    accessible()


def test_without_scripts_everything_is_a_link(page: Page) -> None:
    run = make_run(status="running")
    add_event(run, "note", json.dumps({"text": "x" * 10_000}), 1)
    page.route("**/run.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    open_run(page, run.pk)
    add_event(run, "note", '"second"', 2)
    page.get_by_role("link", name="Reload").click()
    expect(row(page, "note: second")).to_be_visible()
    rows(page).first.locator("> details > summary").click()
    rows(page).first.get_by_role("link", name="Show the payload").click()
    expect(page.locator("pre")).to_contain_text("xxxxx")
    page.get_by_role("link", name="Back to the run").click()
    expect(rows(page).first).to_be_visible()


def test_content_is_escaped(page: Page, accessible: Callable[..., None]) -> None:
    run = make_run(workflow_id=NASTY, status="failed", error=f"{NASTY}\n{NASTY * 50}", input={NASTY: NASTY})
    add_event(run, "note", json.dumps({NASTY: NASTY, "wide": "w" * 1_900}), 1)
    add_event(run, f"{NASTY}.{'t' * 300}", json.dumps(NASTY), 2)
    add_event(run, "conflict.found", json.dumps({"key": NASTY, "previous": NASTY, "next": [NASTY]}), 3)
    add_event(run, "tool.result", json.dumps({"tool": NASTY, "status": "error", "error": NASTY * 20}), 4)
    open_run(page, run.pk)
    for summary in rows(page).locator("> details > summary").all():
        summary.click()
    expect(rows(page).locator("pre").first).to_contain_text(NASTY.replace('"', '\\"'))
    for _ in at_each_size(page):
        assert fits(page)
        accessible()


@pytest.mark.parametrize("screen", [{"width": width, "height": 800} for width in (320, 768, 1024)], ids=str)
def test_the_timeline_is_readable_at_any_width(page: Page) -> None:
    run = make_run()
    add_call(run, "a", 1, 40, status='"error"', error='"TimeoutError: no answer"')
    add_event(run, "coverage.delta", '{"from": 0.42, "to": 0.61}', 50)
    open_run(page, run.pk)
    for text in ("tool fetch, 39.0 s failed", "coverage 0.42 → 0.61"):
        said = row(page, text).locator(".agentstate-event-text")
        expect(said).to_be_visible()
        assert said.evaluate("(element) => element.scrollWidth <= element.clientWidth")
    assert fits(page)


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_long_names_and_days_do_not_overlap(page: Page) -> None:
    project = ProjectFactory()
    runs = [make_run(id=f"legacy_{n}{'q' * 300}", project=project, workflow_id="draft-" * 30) for n in range(3)]
    add_event(runs[1], "note", at=1)
    add_event(runs[1], "note", at=20 * 86_400)
    open_run(page, runs[1].pk)
    expect(rows(page).last).to_contain_text("+20 d 00:00:00.0")
    assert fits(page)
    for one, other in ((".agentstate-run-id bdi", ".object-tools li"), (".agentstate-at", ".agentstate-mark")):
        assert not overlap(page, one, other)


def overlap(page: Page, one: str, other: str) -> bool:
    """Tell whether texts within the first elements touch any of the others."""
    return page.evaluate(
        """([one, other]) => {
            const texts = [...document.querySelectorAll(one)].flatMap((each) => {
                const range = document.createRange();
                range.selectNodeContents(each);
                return [...range.getClientRects()];
            });
            const others = [...document.querySelectorAll(other)].map((each) => each.getBoundingClientRect());
            return texts.some((a) => others.some((b) =>
                a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
        }""",
        [one, other],
    )


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_works_by_keyboard(page: Page, recorded: str) -> None:
    held: list[Route] = []
    page.route("**/overview/**", lambda route: held.append(route))
    with page.expect_request("**/overview/**"):
        open_run(page, recorded)
    reached = []
    page.get_by_role("link", name="Download JSON").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText || document.activeElement.name || ''").strip())
        if reached[-1] == "Overview of the whole run":  # whose place the strip takes, but not the focus
            with page.expect_response("**/overview/**"):
                held.pop().continue_()
            page.evaluate("fetch('').then((answer) => answer.text())")  # the script has its answer by then
            expect(page.locator(":focus")).to_have_text(reached[-1])
        if "draft progress" in reached[-1]:
            break
    text = " ".join(reached)
    for name in (
        "Input",
        "Output",
        "Overview of the whole run",
        "Failures only",
        "state.changed",
        "q",
        "Search",
        "tool normalize_rfp",
        "draft progress",
    ):
        assert name in text
    page.keyboard.press("Enter")
    expect(row(page, "draft progress").locator("pre")).to_be_visible()
