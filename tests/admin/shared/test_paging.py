"""Lists that are paged by key: each row once, from any page on, whatever the address says."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Q
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of

from agentstate.admin.passes.admin import BackfillPassAdmin, LeftAsideAdmin
from agentstate.admin.shared.keyset import BadCursor, Cursor, Keyset, estimated_rows, in_round_figures
from agentstate.admin.shared.paging import KeysetPages
from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from agentstate.models import BackfillPass, LeftAside
from tests import scenes
from tests.admin.viewers import superuser

pytestmark = pytest.mark.django_db

MOMENT = datetime(2024, 5, 1, tzinfo=UTC)
LIST = url_of("admin:agentstate_leftaside_changelist")
ORDER = ("-last_seen_at", "-id")


def leave_aside(number: int, *, at_once: int = 1) -> list[int]:
    """Leave projects aside, some of them at the same moment, and return their entries' ids in the list's order."""
    entries = [
        LeftAside(
            project_id=f"p{n}",
            direction="forward" if n % 2 else "reverse",
            error_class="E",
            error="e",
            first_seen_at=MOMENT,
            last_seen_at=MOMENT + timedelta(seconds=n // at_once),
        )
        for n in range(number)
    ]
    LeftAside.objects.bulk_create(entries)
    return list(LeftAside.objects.order_by(*ORDER).values_list("pk", flat=True))


def pks(response: Any) -> list[int]:
    return [row.pk for row in response.context["cl"].result_list]


def walk(client: Client, address: str, link: str) -> list[list[int]]:
    """Return the pages from an address on, by following a link to its end."""
    pages = []
    while True:
        response = client.get(LIST + address)
        pages.append(pks(response))
        address = getattr(response.context["cl"], link)
        if not address:
            return pages


def flat(pages: list[list[int]]) -> list[int]:
    return [pk for page in pages for pk in page]


def test_each_row_is_on_one_page_where_many_share_a_time() -> None:
    everything = leave_aside(120, at_once=40)

    pages = walk(superuser(), "", "older_link")

    assert [len(page) for page in pages] == [50, 50, 20]
    assert flat(pages) == everything


def test_paging_back_shows_the_same_rows_and_ends_in_a_full_first_page() -> None:
    everything = leave_aside(120, at_once=40)
    client = superuser()
    middle = client.get(LIST + client.get(LIST).context["cl"].older_link).context["cl"]
    last = client.get(LIST + middle.older_link).context["cl"]

    back = walk(client, last.newer_link, "newer_link")

    assert back == [everything[50:100], everything[:50]]


def test_inserted_rows_move_no_page() -> None:
    everything = leave_aside(60)
    client = superuser()
    older = client.get(LIST).context["cl"].older_link
    LeftAside.objects.create(
        project_id="new", direction="forward", first_seen_at=MOMENT, last_seen_at=MOMENT + timedelta(days=1)
    )

    assert pks(client.get(LIST + older)) == everything[50:]


def test_before_a_place_near_the_start_is_the_first_page() -> None:
    everything = leave_aside(60)
    keyset = Keyset(ORDER, 50)
    entry = LeftAside.objects.get(pk=everything[10])

    page = keyset.page([LeftAside.objects.all()], Cursor((entry.last_seen_at, entry.pk), is_before=True))

    assert (page.pks, page.before) == (everything[:50], "")


def test_an_ascending_order_is_paged_the_same_way() -> None:
    everything = leave_aside(30)[::-1]
    keyset, found = Keyset(("last_seen_at", "id"), 7), []
    page = keyset.page([LeftAside.objects.all()])
    found += page.pks
    while page.after:
        page = keyset.page(
            [LeftAside.objects.all()], keyset.cursor(page.after, LeftAside.objects.all(), is_before=False)
        )
        found += page.pks

    assert found == everything
    back = keyset.cursor(page.before, LeftAside.objects.all(), is_before=True)
    assert keyset.page([LeftAside.objects.all()], back).pks == everything[21:28]


def test_parts_are_merged_into_one_order() -> None:
    everything = leave_aside(40)
    keyset, parts = Keyset(ORDER, 15), [LeftAside.objects.filter(direction=way) for way in ("forward", "reverse")]

    page = keyset.page(parts)
    second = keyset.page(parts, keyset.cursor(page.after, parts[0], is_before=False))

    assert page.pks + second.pks == everything[:30]


def test_an_empty_union_has_no_rows() -> None:
    assert Keyset(ORDER, 15).page([]).pks == []


def encoded(values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


BAD = {
    "noise": "%%%",
    "no base64": "é",
    "no JSON": base64.urlsafe_b64encode(b"{").decode(),
    "deep JSON": base64.urlsafe_b64encode(b"[" * 9000).decode(),
    "too long": "A" * 20_000,
    "another shape": encoded({"id": 1}),
    "too few": encoded(["2024-05-01T00:00:00+00:00"]),
    "too many": encoded(["2024-05-01T00:00:00+00:00", 1, 2]),
    "a number": encoded(5),
    "a null": encoded(["2024-05-01T00:00:00+00:00", None]),
    "no time": encoded(["yesterday", 1]),
    "an impossible time": encoded(["2024-13-01T00:00:00+00:00", 1]),
    "a time without a zone": encoded(["2024-05-01T00:00:00", 1]),
    "no whole number": encoded(["2024-05-01T00:00:00+00:00", [1]]),
    "infinity": base64.urlsafe_b64encode(b'["2024-05-01T00:00:00+00:00",1e999]').decode(),
}


@pytest.mark.parametrize("way", ["after", "before"])
@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_an_invalid_cursor_shows_the_first_page_and_says_so(text: str, way: str) -> None:
    everything = leave_aside(3)

    response = superuser().get(LIST, {way: text})

    assert response.status_code == 200
    assert pks(response) == everything
    assert "This address names no page of the list" in response.content.decode()


@pytest.mark.parametrize(
    "key",
    [
        ["2024-05-01T00:00:00+00:00", 10**40],
        ["0001-01-01T00:00:00+14:00", 1],
        ["9999-12-31T23:59:59-14:00", -1],
        ["2024-05-01T00:00:00.000001+05:30", 1.5],
    ],
    ids=str,
)
@pytest.mark.parametrize("way", ["after", "before"])
def test_a_cursor_need_not_name_an_existing_row(key: list[Any], way: str) -> None:
    leave_aside(3)
    assert superuser().get(LIST, {way: encoded(key)}).status_code == 200


def test_a_cursor_with_impossible_text_is_invalid() -> None:
    keyset = Keyset(("project_id", "id"), 5)
    for text in ("\0", "\ud800"):
        with pytest.raises(BadCursor):
            keyset.cursor(encoded([text, 1]), LeftAside.objects.all(), is_before=False)


def test_a_value_that_the_database_refuses_is_reported() -> None:
    leave_aside(3)
    response = superuser().get(LIST, {"project_id": "\0"})
    assert response.status_code == 200
    assert "The database cannot hold such a value" in response.content.decode()


def test_a_slow_query_is_canceled_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_aside(3)
    monkeypatch.setattr(LeftAsideAdmin, "seconds", 0.1)
    slow = Q(pk__gt=0) & Q(pk__in=LeftAside.objects.extra(where=["pg_sleep(1) IS NOT NULL"]).values("pk"))
    monkeypatch.setattr(LeftAsideAdmin, "all_parts", lambda self, changelist: [slow])

    response = superuser().get(LIST)

    assert response.status_code == 200
    assert "This search took longer than 0.1 s. Narrow it down." in response.content.decode()
    assert pks(response) == []


def test_a_slow_filter_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowFilter(admin.SimpleListFilter):
        title = parameter_name = "slow"

        def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
            scenes.rows("SELECT pg_sleep(1)")
            return []

    monkeypatch.setattr(LeftAsideAdmin, "seconds", 0.1)
    monkeypatch.setattr(LeftAsideAdmin, "list_filter", (SlowFilter,))

    response = superuser().get(LIST)

    assert response.status_code == 200
    assert "This search took longer than 0.1 s" in response.content.decode()


def test_the_time_limit_ends_with_its_block() -> None:
    before = scenes.one("SHOW statement_timeout")
    with time_limit(3):
        assert scenes.one("SHOW statement_timeout") == ("3s",)
    assert scenes.one("SHOW statement_timeout") == before
    with pytest.raises(TookTooLong, match=r"longer than 0\.05 s"), time_limit(0.05):
        scenes.one("SELECT pg_sleep(1)")
    assert scenes.one("SHOW statement_timeout") == before


def test_links_keep_the_filters_and_filters_leave_the_page() -> None:
    leave_aside(120)
    client = superuser()
    older = client.get(LIST, {"direction__exact": "forward"}).context["cl"].older_link
    assert "direction__exact=forward" in older

    response = client.get(LIST + older)

    assert {row.direction for row in response.context["cl"].result_list} == {"forward"}
    changelist = response.context["cl"]
    assert "direction__exact=forward" in changelist.newer_link
    for spec in changelist.filter_specs:
        for choice in spec.choices(changelist):
            assert "after=" not in choice["query_string"]
    assert 'name="after"' not in response.content.decode()


def test_headers_do_not_sort() -> None:
    everything = leave_aside(5)
    response = superuser().get(LIST, {"o": "1"})
    assert pks(response) == everything
    assert "?o=" not in response.content.decode()


def test_a_short_list_is_counted_and_a_longer_one_estimated() -> None:
    leave_aside(3)
    client = superuser()
    assert client.get(LIST).context["cl"].total == "3 left aside"
    scenes.run_sql(
        """INSERT INTO "AgentStateLeftAside"
               (project_id, direction, error_class, error, attempts, first_seen_at, last_seen_at)
           SELECT i::text, 'forward', 'E', 'e', 1, now(), now() FROM generate_series(1, 12345) i;
           ANALYZE "AgentStateLeftAside" """
    )
    assert client.get(LIST).context["cl"].total == "about 12,000 left aside"


@pytest.mark.parametrize(
    ("number", "rounded"), [(0, 0), (99, 99), (151, 150), (12_345, 12_000), (9_987_345, 10_000_000)]
)
def test_estimates_are_in_round_figures(number: int, rounded: int) -> None:
    assert in_round_figures(number) == rounded


def test_an_estimate_counts_nothing() -> None:
    with CaptureQueriesContext(connection) as queries:
        assert estimated_rows([BackfillPass.objects.filter(pk__lt=9), BackfillPass.objects.filter(pk__gt=9)]) >= 2
    assert [query["sql"].split()[0] for query in queries] == ["EXPLAIN"]


def test_nothing_is_counted_or_skipped() -> None:
    leave_aside(120)
    client = superuser()
    older = client.get(LIST).context["cl"].older_link
    with CaptureQueriesContext(connection) as queries:
        client.get(LIST + older + "&_facets=True&all=1&p=3")
    assert queries
    assert not [query for query in queries if "COUNT(" in query["sql"] or "OFFSET" in query["sql"]]


def queries_of(client: Client) -> int:
    with CaptureQueriesContext(connection) as queries:
        client.get(LIST)
    return len(queries)


def test_a_list_takes_as_many_queries_for_any_number_of_rows() -> None:
    client = superuser()
    leave_aside(1)
    of_one = queries_of(client)
    LeftAside.objects.all().delete()
    leave_aside(50)
    of_a_page = queries_of(client)
    LeftAside.objects.all().delete()
    leave_aside(120)
    assert (of_a_page, queries_of(client)) == (of_one, of_one + 1)  # the estimate


def test_a_list_of_any_model_takes_a_class_attribute() -> None:
    class Passes(KeysetPages):
        keyset = ("id",)

    for number in range(3):
        BackfillPass.objects.create(direction="forward", requested_by=str(number), started_at=MOMENT, seen_at=MOMENT)
    request = RequestFactory().get("/")
    request.user = superuser().get(LIST).wsgi_request.user

    changelist = Passes(BackfillPass, admin.site).get_changelist_instance(request)

    assert [entry.requested_by for entry in changelist.result_list] == ["0", "1", "2"]
    assert changelist.words["after"] == "Next"
    assert BackfillPassAdmin(BackfillPass, admin.site).get_changelist_instance(request).words["after"] == "Older"
