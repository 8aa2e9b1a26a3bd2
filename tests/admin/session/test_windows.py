"""A long conversation is shown in windows of a few entries, whether they are in the array, in rows or in both."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests import scenes
from tests.admin.session.session_pages import address_of, text_of
from tests.admin.viewers import superuser
from tests.factories import SessionFactory
from tests.sql import explained, tell_planner

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db

ENTRY = "jsonb_build_object('role', 'user', 'content', 'entry ' || i || repeat(' more', 50))"


@pytest.fixture(params=[10_000, 60], ids=["in the array", "in rows from the 61st on"])
def long_session(request: pytest.FixtureRequest) -> Any:
    """Return a session with 10,000 entries, so many of them in the array."""
    session = SessionFactory()
    in_array = request.param
    scenes.run_sql(
        f"""UPDATE "AgentSession" SET further = %s, transcript_json = (
                SELECT jsonb_agg({ENTRY} ORDER BY i) FROM generate_series(1, %s) i)""",
        0 if in_array == 10_000 else 10_000,
        in_array,
    )
    scenes.run_sql(
        f"""INSERT INTO "AgentSessionEntry" (session_id, number, entry)
            SELECT %s, i, {ENTRY} FROM generate_series(%s::int + 1, 10000) i""",
        session.pk,
        in_array,
    )
    return session


def window_of(client: Client, session: Any, wanted: str) -> tuple[int, int, int | None, int | None]:
    page = client.get(address_of(session), {"from": wanted})
    assert page.status_code == 200
    found = page.context["window"]
    assert [entry.number for entry in found.entries] == list(range(found.first, found.last + 1))
    assert found.entries[0].content.startswith(f"entry {found.first} ")
    return found.first, found.last, found.earlier, found.later


def test_a_long_conversation_is_read_in_windows(long_session: Any) -> None:
    client = superuser()
    assert window_of(client, long_session, "") == (9951, 10000, 9901, None)
    assert window_of(client, long_session, "1") == (1, 50, None, 51)
    assert window_of(client, long_session, "51") == (51, 100, 1, 101)
    assert window_of(client, long_session, "9951") == (9951, 10000, 9901, None)
    assert window_of(client, long_session, "20") == (20, 69, 1, 70)  # across both places
    page = text_of(client, address_of(long_session), **{"from": "51"})
    assert "51 to 100 of 10,000" in page
    assert len(page) < 200_000


@pytest.mark.parametrize("wanted", ["-5", "x", "1.5", "\u0663", "9" * 5000, "\0"])
def test_an_invalid_number_shows_the_newest_window(long_session: Any, wanted: str) -> None:
    assert window_of(superuser(), long_session, wanted) == (9951, 10000, 9901, None)


def test_a_number_beyond_the_end_shows_the_last_window(long_session: Any) -> None:
    assert window_of(superuser(), long_session, "99999") == (10000, 10000, 9950, None)


def test_the_number_of_queries_does_not_depend_on_the_length(long_session: Any) -> None:
    client = superuser()
    counts = []
    for session in (long_session, SessionFactory(transcript_json=[{"role": "user", "content": "said"}])):
        with CaptureQueriesContext(connection) as queries:
            client.get(address_of(session))
        counts.append(len(queries))
        assert not [query for query in queries if re.search(r'SELECT[^(]*"transcript_json"', query["sql"])]
    assert counts[0] == counts[1] == 4


@pytest.mark.parametrize("long_session", [60], indirect=True)
def test_a_window_of_rows_reads_no_others_and_not_the_array(long_session: Any) -> None:
    tell_planner("AgentSessionEntry")
    client = superuser()
    with CaptureQueriesContext(connection) as queries:
        client.get(address_of(long_session), {"from": "9951"})
    (query,) = [query["sql"] for query in queries if "jsonb_array_elements" in query["sql"]]
    nodes = explained(query.replace("%", "%%"), None, "ANALYZE")
    scans = [node for node in nodes if node.get("Relation Name") == "AgentSessionEntry"]
    assert "Seq Scan" not in {scan["Node Type"] for scan in scans}
    assert [scan["Actual Rows"] * scan["Actual Loops"] for scan in scans] == [1, 50]  # the last one, and the window
