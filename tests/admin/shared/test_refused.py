"""Where the database refuses a page, the page says so and what to do."""

from __future__ import annotations

import logging
from html import unescape
from typing import TYPE_CHECKING

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import RequestFactory
from django.urls import reverse as url_of

from agentstate.admin.shared.refused import refused
from agentstate.row_security import HidingTable, RowsHidden
from tests import scenes
from tests.admin.viewers import superuser
from tests.factories import ProjectFactory

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def without_events() -> Iterator[None]:
    scenes.run_sql('ALTER TABLE "AgentWorkflowRunEvent" RENAME TO moved')
    yield
    scenes.run_sql('ALTER TABLE moved RENAME TO "AgentWorkflowRunEvent"')


def page_about(statement: str) -> str:
    """Return the text of the page about what the database says to a statement."""
    with pytest.raises(DatabaseError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    return unescape(refused(RequestFactory().get("/"), caught.value).content.decode())


@pytest.mark.usefixtures("without_events")
def test_a_page_whose_table_is_missing_names_the_command(caplog: pytest.LogCaptureFixture) -> None:
    project = ProjectFactory()
    scenes.forward()
    with caplog.at_level(logging.ERROR):
        response = superuser().get(url_of("admin:agentstate_project_change", args=[project.pk]))

    text = unescape(response.content.decode())
    assert response.status_code == 503
    assert 'relation "AgentWorkflowRunEvent" does not exist' in text
    assert "Run manage.py check --database default, then manage.py migrate." in text
    assert "The database refused" in caplog.text


def test_row_level_security_names_the_right() -> None:
    text = page_about(
        """
        CREATE ROLE agentstate_reader; CREATE TABLE secret (id int); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
        GRANT SELECT ON secret TO agentstate_reader; SET LOCAL ROLE agentstate_reader; SET LOCAL row_security = off;
        SELECT * FROM secret
        """
    )

    assert 'query would be affected by row-level security policy for table "secret"' in text
    assert "give the role BYPASSRLS or a policy that lets it read every row" in text


def test_a_missing_right_is_named() -> None:
    text = page_about('CREATE ROLE agentstate_reader; SET LOCAL ROLE agentstate_reader; SELECT * FROM "Project"')

    assert "permission denied for table Project" in text
    assert "Grant the site's database role what it lacks." in text


def test_a_busy_database_asks_to_retry() -> None:
    text = page_about("SET LOCAL statement_timeout = '10ms'; SELECT pg_sleep(5)")

    assert "canceling statement due to statement timeout" in text
    assert "look for long transactions in pg_stat_activity" in text


def test_other_errors_are_logged() -> None:
    text = page_about("SELECT 1 / 0")

    assert "division by zero" in text
    assert "The site's log has the details." in text


def test_hidden_rows_name_the_policy() -> None:
    hiding = HidingTable("Project", "app", ("tenants",), is_forced_on_owner=True)
    text = unescape(refused(RequestFactory().get("/"), RowsHidden([hiding])).content.decode())

    assert 'Row-level security of "Project" applies to the role app (policies: tenants).' in text
    assert 'Run ALTER TABLE "Project" NO FORCE ROW LEVEL SECURITY' in text
