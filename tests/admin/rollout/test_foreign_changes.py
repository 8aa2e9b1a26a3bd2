"""The rollout's page on a database from which another tool dropped columns."""

from __future__ import annotations

from html import unescape

import pytest

from tests import scenes
from tests.admin.rollout.page import get, text_of

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("column", ["stateUpdatedAt", "factsJson"])
def test_a_column_that_another_tool_dropped_is_an_error_with_the_statements(column: str) -> None:
    scenes.run_sql(f'ALTER TABLE "Project" DROP COLUMN "{column}"')

    response = get()

    assert f'Another tool dropped "{column}" from "Project"' in text_of(response)
    assert "No step can be taken" in text_of(response)
    statements = response.context["foreign_changes"].statements
    assert statements
    for statement in statements:
        assert statement in unescape(response.content.decode())
