"""State over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.factories import ProjectFactory

if TYPE_CHECKING:
    import httpx

EXACT = '{"a": 1234567890123456789012345678901234567890, "b": 0.30000000000000004, "c": 0.10}'


def test_a_number_comes_out_digit_for_digit(client: httpx.Client) -> None:
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
