"""The parts of an event that are made on request: what a save changed, and texts as Markdown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentstate.admin.run.timeline.markdown import messages_in
from agentstate.models import AgentWorkflowRunEvent
from agentstate.recording import record
from agentstate.state import save
from tests.admin.run.run_pages import NASTY, address, get, text_of
from tests.admin.run.timeline.scenes import add_call, add_event, make_run
from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory
from tests.flags import turn

pytestmark = pytest.mark.django_db


def part(run_id: str, event_id: str, name: str, client: Any = None) -> Any:
    return (client or superuser()).get(address(run_id, name, event_id))


def test_a_save_shows_what_it_changed() -> None:
    project = ProjectFactory()
    turn("agentkit_writes", everyone=True)
    save(project.pk, facts={"pages": 5, "name": NASTY}, coverage={"score": 0.5})
    with record("draft", project.pk) as recorder:
        recorder.save(facts={"pages": 7, "name": NASTY}, coverage=None)
        recorder.save(facts={"pages": 7, "tags": ["a"]})
    first, second = AgentWorkflowRunEvent.objects.filter(run=recorder.run_id, type="state.changed").order_by(
        "created_at"
    )
    said = text_of(part(recorder.run_id, first.pk, "changes"))
    assert "facts.pages 5 → 7" in said
    assert 'coverage {"score":0.5} → null' in said.replace(": ", ":")
    assert "facts.name" not in said
    said = text_of(part(recorder.run_id, second.pk, "changes"))
    assert 'facts.tags nothing → ["a"]' in said
    assert "<script>alert" not in part(recorder.run_id, second.pk, "changes").content.decode()
    body = get(recorder.run_id).content.decode()
    assert f"{address(recorder.run_id, 'changes', first.pk)}?part" in body


def test_a_save_of_a_deleted_project_has_nothing_to_compare_with() -> None:
    run = make_run()
    event = add_event(run, "state.changed", '{"facts": {}}')
    assert "Nothing to compare with" in text_of(part(run.pk, event, "changes"))
    assert part(run.pk, add_event(run, "note", at=2), "changes").status_code == 404


@pytest.mark.parametrize("name", ["changes", "markdown"])
def test_the_parts_need_the_permission_to_view_runs(name: str) -> None:
    run = make_run()
    event = add_event(run, "state.changed", '{"facts": {}}')
    assert part(run.pk, event, name, viewer("project")).status_code == 403
    assert part(run.pk, "\0", name).status_code == 404


def test_texts_are_rendered_as_markdown() -> None:
    run = make_run()
    content = [{"type": "output_text", "text": "# Title\n\n- one\n- **two**\n\n| a | b |\n|---|---|\n| 1 | 2 |"}]
    event = add_event(run, "model.response", json.dumps({"output": [{"type": "message", "content": content}]}))
    body = part(run.pk, event, "markdown").content.decode()
    assert "<h1>Title</h1>" in body
    assert "<strong>two</strong>" in body
    assert "<td>1</td>" in body
    assert "output[0].content[0].text" in body
    assert "As Markdown" in text_of(get(run))


@pytest.mark.parametrize(
    "text",
    [
        NASTY,
        "![remote](https://example.org/pixel.png)",
        "[link](javascript:alert(1)) <https://example.org>",
        "[ref]\n\n[ref]: https://example.org/pixel.png",
        "<img src=https://example.org/pixel.png onerror=alert(1)>",
        "```html\n<script>alert(1)</script>\n```",
    ],
)
def test_markdown_loads_nothing_and_links_nowhere(text: str) -> None:
    (message,) = messages_in({"text": text})
    assert not any(each in message.html.lower() for each in ("<a", "<img", "<script", 'src="', "href="))


def test_many_and_long_texts_are_bounded() -> None:
    assert len(messages_in({"content": ["x"] * 1000})) == 50
    assert len(messages_in({"text": "x" * 500_000})[0].html) < 101_000
    deep: Any = "end"
    for _ in range(50_000):
        deep = [deep]
    assert [message.path[:3] for message in messages_in({"text": deep})] == ["tex"]
    assert messages_in({"n": 1, "name": "x"}) == []


def test_a_call_links_to_the_calls_of_its_tool() -> None:
    run = make_run()
    add_call(run, "a", 1, 2)
    add_event(run, "note", at=3)
    assert 'href="?tool=fetch">Only calls of' in get(run).content.decode()
    page = get(run, tool="fetch")
    assert "tool fetch" in text_of(page)
    assert len(page.context["page"].rows) == 1
