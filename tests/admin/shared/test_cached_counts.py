"""Numbers that need a scan are kept, say their age, and are given up where they take long."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache
from django.db import ProgrammingError, connection, transaction
from django.utils import timezone

from agentstate.admin.shared import cached_counts as module
from agentstate.admin.shared.cached_counts import FRESH, CachedCount, cached_counts
from agentstate.admin.shared.time_limit import TookTooLong, deadline, time_limit
from tests import scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "SECONDS_ON_VIEW", 0.1)
    monkeypatch.setattr(module, "SECONDS_WHEN_ASKED", 5.0)
    cache.clear()
    yield
    cache.clear()


def make_older(by: timedelta) -> None:
    """Let what is kept have been counted so much earlier."""
    kept: CachedCount[int] = cache.get("agentstate.counts.n")
    cache.set("agentstate.counts.n", replace(kept, at=kept.at and kept.at - by, tried_at=kept.tried_at - by))


def slowly() -> int:
    scenes.one("SELECT pg_sleep(0.3)")
    return 3


def test_a_number_is_kept_with_the_time_it_was_counted_at() -> None:
    before = timezone.now()
    first = cached_counts("n", lambda: 1)

    assert cached_counts("n", lambda: 2) == first
    assert (first.value, first.gave_up_after) == (1, 0)
    assert first.at is not None
    assert before <= first.at <= timezone.now()


def test_an_old_number_is_counted_again() -> None:
    cached_counts("n", lambda: 1)
    make_older(FRESH + timedelta(seconds=1))

    assert cached_counts("n", lambda: 2).value == 2


def test_numbers_are_kept_by_name() -> None:
    cached_counts("n", lambda: 1)

    assert cached_counts("m", lambda: 2).value == 2


def test_an_explicit_request_counts_again() -> None:
    cached_counts("n", lambda: 1)

    assert cached_counts("n", lambda: 2, again=True).value == 2
    assert cached_counts("n", lambda: 3).value == 2


def test_a_count_that_takes_too_long_is_unknown_and_not_retried_at_once() -> None:
    given_up = cached_counts("n", slowly)

    assert (given_up.value, given_up.at, given_up.gave_up_after) == (None, None, 0.1)
    assert cached_counts("n", lambda: 1) == given_up
    assert cached_counts("n", slowly, again=True).value == 3


def test_an_old_number_is_kept_where_counting_fails() -> None:
    first = cached_counts("n", lambda: 1)
    make_older(FRESH * 2)

    again = cached_counts("n", slowly)

    assert first.at is not None
    assert (again.value, again.at, again.gave_up_after) == (1, first.at - FRESH * 2, 0.1)


class TestTheDeadline:
    def test_it_covers_all_statements_together(self) -> None:
        def count() -> None:
            for _ in range(20):
                scenes.one("SELECT pg_sleep(0.05)")

        with pytest.raises(TookTooLong, match=r"longer than 0\.2 s"), deadline(0.2):
            count()

    def test_it_covers_nested_transactions(self) -> None:
        def count() -> None:
            with transaction.atomic(durable=True), connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute("SELECT pg_sleep(1)")

        with pytest.raises(TookTooLong), deadline(0.1):
            count()

    def test_it_ends_with_its_block(self) -> None:
        before = scenes.one("SHOW statement_timeout")
        with deadline(3):
            assert scenes.one("SHOW statement_timeout") != before
        assert scenes.one("SHOW statement_timeout") == before
        with transaction.atomic():
            with deadline(3):
                assert scenes.one("SHOW statement_timeout") != before
            assert scenes.one("SHOW statement_timeout") == before
        with pytest.raises(TookTooLong), deadline(0.05):
            scenes.one("SELECT pg_sleep(1)")
        assert scenes.one("SHOW statement_timeout") == before

    @pytest.mark.parametrize("limit", [time_limit, deadline])
    def test_it_leaves_nothing_on_the_session_even_between_its_statements(
        self, limit: Callable[[float], AbstractContextManager[Any]]
    ) -> None:
        """A pooler gives the session to others after each transaction, and whenever a client vanishes."""

        def session() -> str:
            return str(connection.connection.execute("SHOW statement_timeout").fetchone()[0])

        connection.ensure_connection()
        before = session()
        with deadline(3):
            scenes.one("SELECT 1")
            assert session() == before
            with transaction.atomic():
                scenes.one("SELECT 1")
            assert session() == before
        with limit(3):
            scenes.one("SELECT 1")
        assert session() == before

    def test_other_errors_are_raised_unchanged(self) -> None:
        before = scenes.one("SHOW statement_timeout")
        with pytest.raises(ProgrammingError), deadline(3):
            scenes.one("SELECT nothing")
        assert scenes.one("SHOW statement_timeout") == before
