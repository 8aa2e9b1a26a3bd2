"""Runs and their events over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.recording import cancel
from tests.factories import ProjectFactory, RunFactory
from tests.sql import sql

if TYPE_CHECKING:
    import httpx

EXACT = '{"a":1234567890123456789012345678901234567890,"b":0.30000000000000004,"c":0.10}'


def put(client: httpx.Client, run_id: str, text: str) -> httpx.Response:
    return client.put(f"/runs/{run_id}", content=text, headers={"Content-Type": "application/json"})


def begun(client: httpx.Client, run_id: str = "draft-7", **more: Any) -> None:
    assert client.put(f"/runs/{run_id}", json={"workflow_id": "draft", **more}).status_code == 201


def types(client: httpx.Client, run_id: str = "draft-7") -> list[str]:
    return [event["type"] for event in client.get(f"/runs/{run_id}/events").json()["events"]]


def test_a_run_begins_once_under_the_clients_id(client: httpx.Client) -> None:
    project = ProjectFactory()
    text = f'{{"workflow_id": "draft", "project_id": "{project.pk}", "input": {EXACT}}}'

    first, again = put(client, "draft-7", text), put(client, "draft-7", text)
    other = put(client, "draft-7", text.replace("0.10", "0.11"))

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.text == again.text
    assert f'"input":{EXACT}' in first.text
    assert other.json()["type"] == "urn:agentstate:problem:id-taken"
    assert AgentWorkflowRun.objects.count() == 1


def test_a_run_of_an_unknown_project_is_refused(client: httpx.Client) -> None:
    answer = client.put("/runs/draft-7", json={"workflow_id": "draft", "project_id": "nowhere"})

    assert (answer.status_code, answer.json()["detail"]) == (404, "No project has the id 'nowhere'.")


@pytest.mark.parametrize("run_id", ["legacy_p_1", "x" * 201, "a:b", "%00", "%2E%2E"])
def test_a_reserved_or_unaddressable_id_is_refused(client: httpx.Client, run_id: str) -> None:
    answer = client.put(f"/runs/{run_id}", json={"workflow_id": "draft"})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "run_id")


def test_an_event_can_name_the_event_that_it_happened_inside(client: httpx.Client) -> None:
    begun(client)
    events = [{"type": "outer", "id": "e-1"}, {"type": "inner", "parent": "e-1"}]
    assert client.post("/runs/draft-7/events", json={"events": events}).status_code == 200
    listed = client.get("/runs/draft-7/events").json()["events"]
    assert [event["parent"] for event in listed] == [None, "e-1"]
    refused = client.post("/runs/draft-7/events", json={"events": [{"type": "inner", "parent": ""}]})
    assert refused.status_code == 422


def test_an_event_with_an_id_is_written_once(client: httpx.Client) -> None:
    begun(client)
    events = [{"type": "one", "payload": {"n": 1}, "id": "e-1"}, {"type": "two"}, {"type": "one", "id": "e-1"}]

    first = client.post("/runs/draft-7/events", json={"events": events})
    again = client.post("/runs/draft-7/events", json={"events": [*events[:1], {"type": "three", "id": "e-3"}]})

    assert first.json()["skipped"] == []
    assert again.json() == {"ids": ["e-1", "e-3"], "skipped": ["e-1"]}
    assert types(client) == ["one", "two", "three"]


def test_a_finished_run_still_answers_for_its_events(client: httpx.Client) -> None:
    begun(client)
    events = {"events": [{"type": "one", "id": "e-1"}]}
    client.post("/runs/draft-7/events", json=events)
    client.post("/runs/draft-7/finish", json={"status": "succeeded"})

    again = client.post("/runs/draft-7/events", json=events)
    late = client.post("/runs/draft-7/events", json={"events": [{"type": "two", "id": "e-2"}]})

    assert again.json() == {"ids": ["e-1"], "skipped": ["e-1"]}
    assert (late.status_code, late.json()["run_status"]) == (409, "succeeded")


def test_an_id_of_another_runs_event_is_refused(client: httpx.Client) -> None:
    begun(client, "a")
    begun(client, "b")
    client.post("/runs/a/events", json={"events": [{"type": "one", "id": "e-1"}]})

    answer = client.post("/runs/b/events", json={"events": [{"type": "new"}, {"type": "one", "id": "e-1"}]})

    assert (answer.status_code, answer.json()["ids"]) == (409, ["e-1"])
    assert types(client, "b") == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"status": "succeeded"}, {"status": "failed", "error": "no"}),
        ({"status": "succeeded", "output": {"n": 0.1}}, {"status": "succeeded", "output": {"n": 0.2}}),
        ({"status": "failed", "error": "no"}, {"status": "failed", "error": "other"}),
        ({"status": "canceled"}, {"status": "succeeded"}),
    ],
)
def test_the_same_outcome_again_is_accepted_and_a_different_one_refused(
    client: httpx.Client, first: dict[str, Any], second: dict[str, Any]
) -> None:
    begun(client)

    answers = [client.post("/runs/draft-7/finish", json=outcome) for outcome in (first, first, second)]

    assert [answer.status_code for answer in answers] == [200, 200, 409]
    assert answers[0].text == answers[1].text
    assert answers[0].json()["output"] == first.get("output")
    assert answers[2].json()["run_status"] == first["status"]


def test_a_run_that_a_person_canceled_refuses_events_with_who_and_why(client: httpx.Client) -> None:
    begun(client)
    cancel("draft-7", "It loops.", by="ada")

    answers = [
        client.post("/runs/draft-7/events", json={"events": [{"type": "new"}]}),
        client.post("/runs/draft-7/heartbeat"),
        client.post("/runs/draft-7/finish", json={"status": "succeeded"}),
    ]

    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert {answer.json()["run_status"] for answer in answers} == {"canceled"}
    assert (
        answers[0]
        .json()["detail"]
        .endswith("has ended (canceled) and accepts nothing more. Canceled by ada: It loops.")
    )


def test_a_run_waits_and_is_resumed(client: httpx.Client) -> None:
    begun(client)
    wait = {"waiting": {"approvals": [1]}, "events": [{"type": "approval.requested", "id": "a-1"}]}

    waiting = [client.post("/runs/draft-7/interrupt", json=wait) for _ in range(2)]
    other = client.post("/runs/draft-7/interrupt", json={"waiting": 2})
    resumed = [client.post("/runs/draft-7/resume") for _ in range(2)]

    assert [answer.status_code for answer in (*waiting, other, *resumed)] == [200, 200, 409, 200, 200]
    assert (waiting[1].json()["status"], waiting[1].json()["waiting"]) == ("pending", {"approvals": [1]})
    assert (resumed[1].json()["status"], resumed[1].json()["waiting"]) == ("running", None)
    assert types(client) == ["approval.requested"]


def test_a_heartbeat_moves_one_event(client: httpx.Client) -> None:
    begun(client)

    answers = [client.post("/runs/draft-7/heartbeat") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [204, 204, 204]
    assert types(client) == ["heartbeat"]


def test_events_come_in_pages_and_by_type(client: httpx.Client) -> None:
    begun(client)
    client.post("/runs/draft-7/events", json={"events": [{"type": f"t{n % 2}", "payload": n} for n in range(7)]})

    seen: list[int] = []
    place: int | None = 0
    while place is not None:
        page = client.get("/runs/draft-7/events", params={"limit": 3, "after": place}).json()
        seen += [event["payload"] for event in page["events"]]
        place = page["next"]
    odd = client.get("/runs/draft-7/events", params={"type": "t1", "limit": 4}).json()

    assert seen == list(range(7))
    assert ([event["payload"] for event in odd["events"]], odd["next"]) == ([1, 3, 5], None)


def test_a_projects_runs_come_in_pages_newest_first(client: httpx.Client) -> None:
    project = ProjectFactory()
    runs = [RunFactory(project=project).pk for _ in range(5)]
    RunFactory()

    first = client.get(f"/projects/{project.pk}/runs", params={"limit": 3}).json()
    second = client.get(f"/projects/{project.pk}/runs", params={"limit": 3, "after": first["next"]}).json()

    assert [run["id"] for run in first["runs"] + second["runs"]] == runs[::-1]
    assert second["next"] is None


def test_times_outside_the_calendar_are_shown_as_the_database_prints_them(client: httpx.Client) -> None:
    project = ProjectFactory()
    runs = [RunFactory(project=project).pk for _ in range(3)]
    sql("""UPDATE "AgentWorkflowRun" SET started_at = 'infinity' WHERE id = ANY (%s)""", runs[:2])

    pages, after = [], None
    for _ in range(2):
        query = {"limit": 2, **({"after": after} if after else {})}
        pages += (page := client.get(f"/projects/{project.pk}/runs", params=query).json())["runs"]
        after = page["next"]

    assert [run["started_at"] for run in pages[:2]] == ["infinity", "infinity"]
    assert [run["id"] for run in pages] == [*sorted(runs[:2], reverse=True), runs[2]]
    assert client.get(f"/runs/{runs[0]}").json()["started_at"] == "infinity"


def test_too_many_events_in_a_request_are_refused(client: httpx.Client) -> None:
    begun(client)

    answer = client.post("/runs/draft-7/events", json={"events": [{"type": "one"}] * 1_001})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "events")
    assert not AgentWorkflowRunEvent.objects.exists()
