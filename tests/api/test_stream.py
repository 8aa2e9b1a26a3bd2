"""The live stream of a run's events: each once, in order, to the run's end."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client, override_settings

from agentstate.api.access import forget_tokens
from agentstate.models import ApiToken
from agentstate.recording import record
from agentstate.recording.events import append
from tests.api.streams import all_messages, opened
from tests.project.processes import wait_until
from tests.recording.recorded import close_as_stale
from tests.sql import scalar, sql

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstate.recording import Recorder

WRITERS, CUTS = 3, 100
# How many events are written, by how hard the storms blow.
EVENTS = {"quick": 2_000, "long": 10_000}
LETTERS = 150  # of a message, at least


def write(run_id: str, writer: int, count: int) -> None:
    """Write events in transactions of many sizes."""
    chance, numbers = random.Random(writer), iter(range(count))
    try:
        left = count
        while left:
            size = min(left, chance.choice([1, 1, 2, 10, 100]))
            append(run_id, [("note", {"writer": writer, "n": next(numbers)}) for _ in range(size)])
            left -= size
    finally:
        connection.close()


def test_a_stream_that_is_cut_a_hundred_times_gives_each_event_once_and_in_order(
    client: httpx.Client, pytestconfig: pytest.Config
) -> None:
    count, chance = EVENTS[pytestconfig.getoption("storms")], random.Random(1)
    received: list[Any] = []
    last_id, cuts = None, 0
    with record("draft") as run:
        shares = [count // WRITERS + (writer < count % WRITERS) for writer in range(WRITERS)]
        threads = [threading.Thread(target=write, args=(run.run_id, *each)) for each in enumerate(shares)]
        for thread in threads:
            thread.start()
        # All cuts together are shorter than the events: the last stream would else wait for letters that never come.
        while cuts < CUTS:
            with opened(client, run.run_id, last_id) as stream:
                for message in stream.messages(most_letters=chance.randrange(1, LETTERS * count // CUTS)):
                    received.append(message.data)
                    last_id = message.id
            cuts += 1
        for thread in threads:
            thread.join()
    messages = all_messages(client, run.run_id, last_id)
    received += [message.data for message in messages[:-1]]

    assert messages[-1][1:] == ("end", {"status": "succeeded"})
    stored = sql('SELECT id FROM "AgentWorkflowRunEvent" WHERE run_id = %s ORDER BY created_at', run.run_id)
    assert [event["id"] for event in received] == [event_id for (event_id,) in stored]
    assert len(received) == count
    for writer, share in enumerate(shares):
        own = [event["payload"]["n"] for event in received if event["payload"]["writer"] == writer]
        assert own == list(range(share))


def test_events_written_while_a_stream_is_open_arrive_and_the_runs_end_ends_it(client: httpx.Client) -> None:
    with record("draft") as run:
        run.event("first", {"exact": 12345678901234567890123})
        with opened(client, run.run_id) as stream:
            assert stream.response.headers["Content-Type"] == "text/event-stream"
            messages = stream.messages()
            first = next(messages)
            run.events([("second", None), ("third", "three")])
            second, third = next(messages), next(messages)
            run.run.succeed()
            (end,) = messages
    listed = client.get(f"/runs/{run.run_id}/events").json()["events"]
    assert [first.data, second.data, third.data] == listed
    assert [int(each.id) for each in (first, second, third)] == [event["place"] for event in listed]
    assert (end.type, end.data) == ("end", {"status": "succeeded"})


def test_a_client_that_has_the_end_is_stopped_until_a_late_event(client: httpx.Client) -> None:
    with record("draft") as run:
        run.event("first")
        close_as_stale(run.run_id)
        *_, end = all_messages(client, run.run_id)
        again = client.get(
            f"/runs/{run.run_id}/events", headers={"Accept": "text/event-stream", "Last-Event-ID": end.id}
        )
        run.event("late")
        late, new_end = all_messages(client, run.run_id, end.id)
    assert (end.data, again.status_code, again.content) == ({"status": "failed"}, 204, b"")
    assert late.data["payload"] == {"$late": True}
    assert new_end.type == "end"
    assert new_end.id != end.id


def test_a_run_without_events_has_an_end(client: httpx.Client) -> None:
    with record("draft") as run:
        pass
    (end,) = all_messages(client, run.run_id)
    assert (end.id, end.type) == ("0-end", "end")
    assert all_messages(client, run.run_id, end.id) == []


def test_a_stream_filters_types_and_has_heartbeats_only_on_request(client: httpx.Client) -> None:
    with record("draft") as run:
        run.event("first")
        run.heartbeat()
        run.event("second")
    assert [message.data.get("type") for message in all_messages(client, run.run_id)] == ["first", "second", None]
    place = str(all_messages(client, run.run_id)[0].id)
    assert [message.data.get("type") for message in all_messages(client, run.run_id, after=place)] == ["second", None]
    chosen = all_messages(client, run.run_id, type=["heartbeat", "second"])
    assert [message.data.get("type") for message in chosen] == ["heartbeat", "second", None]


@pytest.mark.parametrize("last_id", ["x", "-end", "1e3", "9" * 30])
def test_an_id_of_another_kind_is_refused(client: httpx.Client, last_id: str) -> None:
    with record("draft") as run:
        pass
    answer = client.get(
        f"/runs/{run.run_id}/events", headers={"Accept": "text/event-stream", "Last-Event-ID": last_id}
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Last-Event-ID")


def test_an_unknown_run_has_no_stream(client: httpx.Client) -> None:
    answer = client.get("/runs/nothing/events", headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:agentstate:problem:run-not-found")


def test_waiting_streams_hold_no_connection(client: httpx.Client) -> None:
    def connections() -> int:
        return int(
            scalar(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND backend_type = 'client backend'"
            )
        )

    def next_ones(count: int) -> list[str]:
        return [next(stream).data["type"] for stream in streams for _ in range(count)]

    with record("draft") as run:
        run.event("first")
        responses = [opened(client, run.run_id) for _ in range(20)]
        try:
            streams = [response.__enter__().messages() for response in responses]
            assert next_ones(1) == ["first"] * 20
            assert wait_until(lambda: connections() == 1, seconds=60), "only that of this test"
            run.event("second")
            assert next_ones(1) == ["second"] * 20
        finally:
            for response in responses:
                response.__exit__(None, None, None)


def test_a_process_limits_its_streams_and_a_closed_one_makes_room(client: httpx.Client) -> None:
    def is_refused() -> bool:
        with opened(client, run.run_id) as stream:
            return stream.response.status_code == 503

    with record("draft") as run, override_settings(AGENTSTATE_API_STREAMS=1):
        run.event("first")
        assert wait_until(lambda: not is_refused(), seconds=30), "streams of tests before are closed"
        assert wait_until(lambda: _is_first(client, run), seconds=30)
        assert wait_until(lambda: not is_refused(), seconds=30)


def _is_first(client: httpx.Client, run: Recorder) -> bool:
    """Open a stream beside another one; return whether that could be opened."""
    with opened(client, run.run_id) as first:
        if first.response.status_code == 503:
            return False
        next(first.messages())
        with opened(client, run.run_id) as second:
            second.response.read()
        assert (second.response.status_code, second.response.headers["Retry-After"]) == (503, "5")
        assert second.response.json()["type"] == "urn:agentstate:problem:too-many-streams"
    return True


def test_a_stream_ends_when_its_token_is_revoked(caller: Callable[..., httpx.Client]) -> None:
    reader = caller("read")
    with record("draft") as run:
        run.event("first")
        with opened(reader, run.run_id) as stream:
            messages = stream.messages()
            next(messages)
            ApiToken.objects.revoke("test-0")
            forget_tokens()
            run.event("secret")
            assert list(messages) == []


@pytest.mark.django_db
def test_a_wsgi_server_says_that_the_stream_needs_asgi() -> None:
    client = Client(headers={"Accept": "text/event-stream"})
    client.force_login(get_user_model().objects.create_superuser("ada"))
    answer = client.get("/api/v1/runs/any/events")
    assert (answer.status_code, answer.headers["Content-Type"]) == (501, "application/problem+json")
    assert "ASGI" in answer.json()["way_out"]
