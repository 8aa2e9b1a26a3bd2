"""Verification of rows whose project is not in "Project"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentstate.backfill.verification import verify
from tests.management.commands import call
from tests.scenes import forward, make_project
from tests.sql import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)


class TestMissingProjects:
    """Rows that name a project which the table does not have are a problem, not a deleted project."""

    @pytest.fixture(autouse=True)
    def emptied(self) -> Iterator[None]:
        """Empty ``"Project"`` as on a subscriber of logical replication, where foreign keys are not checked."""
        for number in range(12):
            make_project(f"m{number:02}", facts=number, chat=[{"role": "user", "content": "Hello"}])
        forward()
        sql("SET session_replication_role = replica")
        try:
            sql('DELETE FROM "Project"')
        finally:
            sql("RESET session_replication_role")
        yield
        sql('DELETE FROM "AgentWorkflowRun"; DELETE FROM "AgentSession"')

    def test_the_first_are_named_with_the_table(self) -> None:
        found = verify()
        assert not found.clean
        assert found.problems["missing_project"] == 12
        assert found.offenders[:2] == [
            ("m00", "missing_project", "AgentSession, AgentWorkflowRun"),
            ("m01", "missing_project", "AgentSession, AgentWorkflowRun"),
        ]
        assert len(found.offenders) == 10

    def test_the_command_says_what_to_do(self) -> None:
        ended = call("verify_agentkit_state")
        assert ended.code == 1
        assert ended.lines[-1] == (
            '  12 missing_project: runs or sessions name projects that this "Project" does not have: '
            "complete that table"
        )


def test_a_deleted_project_is_no_problem() -> None:
    make_project("p1", facts=1, chat=[{"role": "user", "content": "Hello"}])
    forward()
    sql('DELETE FROM "Project"')
    assert verify().clean
    lines = call("verify_agentkit_state").lines
    assert lines[-2] == "Clean."
    assert lines[-1].startswith('There is nothing to verify: "Project" has no rows.')
