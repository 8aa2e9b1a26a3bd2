"""What others did to the database is reported by ``manage.py check --database default``."""

from __future__ import annotations

import uuid

import pytest
from django.core.checks import CheckMessage
from django.db import connection

from agentstate.checks.database import check_database
from tests.flags import turn

pytestmark = pytest.mark.django_db


def execute(statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements)


def reported() -> list[CheckMessage]:
    return check_database(databases=["default"])


def test_an_unchanged_database_has_no_findings() -> None:
    assert reported() == []


def test_policies_that_hide_rows_are_named_with_the_way_out() -> None:
    role = f"owner_{uuid.uuid4().hex[:12]}"
    execute(
        f"""
        CREATE ROLE {role};
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
        ALTER TABLE "Project" OWNER TO {role};
        ALTER TABLE "Project" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE POLICY tenant ON "Project" USING (false);
        """
    )
    assert reported() == []  # the tests' own role bypasses policies

    execute(f"SET LOCAL ROLE {role}")
    (message,) = reported()

    assert (message.id, message.is_serious()) == ("agentstate.E007", True)
    assert f'Row-level security of "Project" applies to the role {role} (policies: tenant).' in message.msg
    assert str(message.hint).startswith('Run ALTER TABLE "Project" NO FORCE ROW LEVEL SECURITY')


def test_flags_of_waffles_own_model_are_named() -> None:
    execute(
        """
        INSERT INTO waffle_flag (name, testing, superusers, staff, authenticated, languages, rollout, note, created,
                                 modified)
        SELECT name, false, false, false, false, '', false, '', now(), now()
        FROM unnest(ARRAY['editor', 'agentkit_reads']) name
        """
    )
    turn("agentkit_reads")

    (message,) = reported()

    assert message.id == "agentstate.W010"
    assert message.msg.startswith("The table waffle_flag has 1 flag(s) that waffle does not read any more: editor.")

    turn("editor")
    assert reported() == []
