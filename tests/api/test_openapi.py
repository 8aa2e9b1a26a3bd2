"""The OpenAPI document is complete, and the server answers as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis.strategies import booleans

from agentstate.api.openapi import document
from tests.factories import ProjectFactory, RunFactory, SessionFactory

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    import schemathesis

HELD = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document("/")["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


OPERATIONS = dict(operations())


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_an_operation_says_what_it_does_takes_and_answers(operation: dict[str, Any]) -> None:
    assert operation["description"].endswith(".")
    assert {"500", "503"} <= operation["responses"].keys()
    schemas = document("/")["components"]["schemas"]
    contents = [body for answer in operation["responses"].values() for body in answer.get("content", {}).values()]
    for content in [*contents, *operation.get("requestBody", {}).get("content", {}).values()]:
        assert "example" in content or _has_examples(content["schema"], schemas), content


def _has_examples(schema: dict[str, Any], schemas: dict[str, Any]) -> bool:
    """Return whether a schema has an example, or each of its members leads to one or has few values."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    for choices in ("anyOf", "allOf", "oneOf"):
        if choices in schema:
            return any(_has_examples(choice, schemas) for choice in schema[choices] if choice != {"type": "null"})
    return "examples" in schema or "properties" in schema


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_server_answers_as_the_document_says(name: str, client: httpx.Client) -> None:
    """Bounded examples; ``--hypothesis-profile=thorough`` tries many more."""
    import schemathesis  # takes half a second, which each process that collects tests would spend
    from schemathesis.checks import CHECKS

    schema = schemathesis.openapi.from_dict(document("/"))
    schema.config.update(base_url=str(client.base_url))
    method, path = name.split()
    checks = CHECKS.get_by_names(HELD)
    project = ProjectFactory(pk="there")
    RunFactory(pk="there", project=project, status="running")
    SessionFactory(project=project, memory_id="there")

    @given(case=schema[path][method].as_strategy(), is_there=booleans())
    @hypothesis(max_examples=max(8, hypothesis.default.max_examples // 4))
    def answers(case: schemathesis.Case, is_there: bool) -> None:
        if is_there:
            case.path_parameters = dict.fromkeys(case.path_parameters, "there")
        case.call_and_validate(headers=dict(client.headers), checks=checks)

    answers()
