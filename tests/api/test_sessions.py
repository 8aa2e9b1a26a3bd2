"""Sessions and transcripts over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstate.models import AgentSession
from tests.factories import ProjectFactory, RunFactory

if TYPE_CHECKING:
    import httpx

EXACT = '{"a":1234567890123456789012345678901234567890,"b":0.30000000000000004}'


def session(client: httpx.Client) -> str:
    path = f"/projects/{ProjectFactory().pk}/sessions/chat%207"
    assert client.put(path).json()["length"] == 0
    return path


def test_a_session_is_opened_once(client: httpx.Client) -> None:
    path = session(client)
    run = RunFactory(project=AgentSession.objects.get().project)

    opened = [client.put(path), client.put(path, json={"run": run.pk}), client.get(path)]

    assert len({answer.json()["id"] for answer in opened}) == 1
    assert opened[2].json()["memory_id"] == "chat 7"
    assert [answer.json()["run_id"] for answer in opened] == [None, run.pk, run.pk]


def test_repeated_entries_are_not_added_again(client: httpx.Client) -> None:
    path = f"{session(client)}/entries"
    body = f'{{"after": 0, "entries": [{{"role": "user", "content": {EXACT}}}, {{"role": "tool", "content": null}}]}}'
    headers = {"Content-Type": "application/json"}

    answers = [client.post(path, content=body, headers=headers) for _ in range(2)]
    other = client.post(path, json={"after": 1, "entries": [{"role": "user", "content": "no"}]})
    further = client.post(
        path, json={"after": 2, "entries": [{"role": "user", "content": "yes", "at": "2026-03-05T14:02:16+01:00"}]}
    )

    assert [answer.json() for answer in answers] == [{"length": 2, "is_new": True}, {"length": 2, "is_new": False}]
    assert (other.status_code, other.json()["length"]) == (409, 2)
    assert further.json() == {"length": 3, "is_new": True}
    whole = client.get(path)
    assert f'"content":{EXACT}' in whole.text
    assert whole.json()["entries"][2]["at"] == "2026-03-05T13:02:16.000000Z"


def test_entries_and_sessions_come_in_pages(client: httpx.Client) -> None:
    path = session(client)
    entries = [{"role": "user", "content": number} for number in range(5)]
    client.post(f"{path}/entries", json={"after": 0, "entries": entries})
    client.put(f"{path}-2")

    pages = [client.get(f"{path}/entries", params={"after": after, "limit": 3}).json() for after in (0, 3, 9)]
    sessions = client.get(path.rpartition("/")[0], params={"limit": 1}).json()
    rest = client.get(path.rpartition("/")[0], params={"limit": 1, "after": sessions["next"]}).json()

    assert [[entry["content"] for entry in page["entries"]] for page in pages] == [[0, 1, 2], [3, 4], []]
    assert [page["next"] for page in pages] == [3, None, None]
    assert [each["memory_id"] for each in sessions["sessions"] + rest["sessions"]] == ["chat 7-2", "chat 7"]
    assert rest["next"] is None


def test_an_unknown_session_is_not_found(client: httpx.Client) -> None:
    answer = client.get(f"/projects/{ProjectFactory().pk}/sessions/chat/entries")

    assert (answer.status_code, answer.json()["detail"]) == (404, "No session has the memory id 'chat'.")
