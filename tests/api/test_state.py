"""State over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.factories import ProjectFactory, RunFactory
from tests.flags import turn

if TYPE_CHECKING:
    import httpx

EXACT = '{"a": 1234567890123456789012345678901234567890, "b": 0.30000000000000004, "c": 0.10}'


def test_a_number_keeps_its_digits(client: httpx.Client) -> None:
    project = ProjectFactory(documents={"facts": EXACT, "coverage": "null"})

    answer = client.get(f"/projects/{project.pk}/state")

    assert answer.status_code == 200
    assert EXACT.replace(" ", "") in answer.text
    assert answer.json()["documents"]["coverage"] is None
    assert answer.json()["documents"].keys() == {"facts", "coverage"}


def test_an_unknown_project_is_a_problem(client: httpx.Client) -> None:
    answer = client.get("/projects/nowhere/state")

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json() == {
        "type": "urn:agentstate:problem:project-not-found",
        "title": "Not Found",
        "status": 404,
        "detail": "No project has the id 'nowhere'.",
        "way_out": "Check the id.",
    }


def save(client: httpx.Client, path: str, text: str) -> httpx.Response:
    return client.patch(path, content=text, headers={"Content-Type": "application/json"})


def test_a_save_changes_the_given_documents_and_a_repeated_save_writes_nothing(client: httpx.Client) -> None:
    turn("agentkit_writes", everyone=True)
    path = f"/projects/{ProjectFactory(documents={'eligibility': '1', 'conflictLog': '2'}).pk}/state"
    text = f'{{"documents": {{"facts": {EXACT}, "coverage": null}}, "remove": ["eligibility"]}}'

    answers = [save(client, path, text).json() for _ in range(2)]

    assert sorted(answers[0]["changed"]) == ["coverage", "eligibility", "facts"]
    assert answers[1] == {"at": None, "changed": [], "run_id": None}
    present = client.get(path)
    assert f'"facts":{EXACT.replace(" ", "")}' in present.text
    assert present.json()["documents"].keys() == {"facts", "coverage", "conflictLog"}
    assert client.get(path, params={"keys": "coverage"}).json()["documents"] == {"coverage": None}
    for both in ({"keys": "coverage,facts"}, {"keys": ["coverage", "facts"]}):
        assert client.get(path, params=both).json()["documents"].keys() == {"coverage", "facts"}


def test_a_save_is_recorded_by_the_run_it_names(client: httpx.Client) -> None:
    turn("agentkit_writes", everyone=True)
    project = ProjectFactory()
    run = RunFactory(project=project, status="running")

    saved = client.patch(f"/projects/{project.pk}/state", json={"documents": {"facts": 1}, "run": run.pk})

    assert saved.json()["run_id"] == run.pk


def test_history_comes_in_pages_and_each_moment_can_be_read(client: httpx.Client) -> None:
    turn("agentkit_writes", everyone=True)
    project = ProjectFactory()
    path = f"/projects/{project.pk}"
    saved = [client.patch(f"{path}/state", json={"documents": {"facts": n}}).json()["at"] for n in range(3)]

    moments, after = [], None
    for _ in range(10):
        page = client.get(f"{path}/history", params={"limit": 2, **({"after": after} if after else {})}).json()
        moments += [moment["at"] for moment in page["moments"]]
        after = page["next"]
        if after is None:
            break
    states = [client.get(f"{path}/state", params={"at": at}).json() for at in saved]

    assert moments[-3:] == saved
    assert [state["documents"]["facts"] for state in states] == [0, 1, 2]
    assert [(state["source"], state["as_of"]) for state in states] == [("replay", at) for at in saved]


def test_a_document_named_twice_or_none_at_all_is_refused(client: httpx.Client) -> None:
    path = f"/projects/{ProjectFactory().pk}/state"

    answers = [client.patch(path, json=body) for body in ({"documents": {"facts": 1}, "remove": ["facts"]}, {})]

    assert [(answer.status_code, answer.json()["errors"][0]["field"]) for answer in answers] == [
        (422, "remove"),
        (422, "documents"),
    ]
