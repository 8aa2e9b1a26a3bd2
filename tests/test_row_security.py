"""Row-level security never makes rows look absent."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection, transaction

from agentstate.row_security import RowsHidden, every_row, refuse_hidden_rows, tables_that_hide
from tests.factories import ProjectFactory

pytestmark = pytest.mark.django_db


def execute(statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements)


def count_projects() -> int:
    with connection.cursor() as cursor:
        cursor.execute('SELECT count(*) FROM "Project"')
        return int(cursor.fetchone()[0])


def setting() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW row_security")
        return str(cursor.fetchone()[0])


@pytest.fixture
def owner() -> str:
    """A role without BYPASSRLS that owns ``"Project"``, and acts from here to the end of the transaction."""
    ProjectFactory()
    role = f"owner_{uuid.uuid4().hex[:12]}"
    execute(f"""CREATE ROLE {role}; GRANT ALL ON SCHEMA public TO {role}; ALTER TABLE "Project" OWNER TO {role};""")
    return role


def hide_from(role: str) -> None:
    execute(
        f"""
        ALTER TABLE "Project" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE POLICY tenant ON "Project" USING (false);
        SET LOCAL ROLE {role};
        """
    )


def test_a_role_that_no_policy_applies_to_reads_every_row(owner: str) -> None:
    execute(f"SET LOCAL ROLE {owner}")

    with every_row():
        assert count_projects() == 1
    assert tables_that_hide() == []
    refuse_hidden_rows()


def test_hidden_rows_are_refused_and_the_policy_is_named(owner: str) -> None:
    hide_from(owner)
    assert count_projects() == 0

    with pytest.raises(RowsHidden) as caught, every_row():
        count_projects()

    assert str(caught.value) == (
        f'Row-level security of "Project" applies to the role {owner} (policies: tenant). '
        'Run ALTER TABLE "Project" NO FORCE ROW LEVEL SECURITY, or connect as a role with BYPASSRLS.'
    )


@pytest.mark.parametrize("table", ["AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession", "AgentSessionEntry"])
def test_hidden_rows_of_our_own_tables_are_refused(table: str, owner: str) -> None:
    execute(f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY; GRANT SELECT ON "{table}" TO {owner}')
    execute(f"SET LOCAL ROLE {owner}")

    with pytest.raises(RowsHidden, match=f'Row-level security of "{table}"'):
        refuse_hidden_rows()


def test_the_way_out_works(owner: str) -> None:
    hide_from(owner)
    execute('ALTER TABLE "Project" NO FORCE ROW LEVEL SECURITY')

    with every_row():
        assert count_projects() == 1


def test_a_role_that_is_not_the_owner_is_sent_to_the_owner(owner: str) -> None:
    reader = f"reader_{uuid.uuid4().hex[:12]}"
    execute(f'CREATE ROLE {reader}; GRANT SELECT ON "Project" TO {reader}')
    hide_from(reader)

    with pytest.raises(RowsHidden) as caught:
        refuse_hidden_rows()

    assert 'Connect as the owner of "Project" or as a role with BYPASSRLS.' in str(caught.value)


def test_row_security_without_a_policy_hides_every_row_and_is_refused(owner: str) -> None:
    hide_from(owner)
    execute('RESET ROLE; DROP POLICY tenant ON "Project"')
    execute(f"SET LOCAL ROLE {owner}")

    with pytest.raises(RowsHidden, match=r"policies: none, which hides every row"):
        refuse_hidden_rows()


def test_the_setting_ends_with_the_block(owner: str) -> None:
    with every_row():
        with every_row():
            assert setting() == "off"
        assert setting() == "off"
    assert setting() == "on"


def test_the_setting_ends_with_a_block_that_fails(owner: str) -> None:
    with pytest.raises(ZeroDivisionError), every_row():
        raise ZeroDivisionError
    assert setting() == "on"


@pytest.mark.django_db(transaction=True)
def test_it_begins_a_transaction_where_there_is_none() -> None:
    with every_row():
        assert connection.in_atomic_block
        transaction.set_rollback(True)
    assert setting() == "on"
