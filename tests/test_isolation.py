"""Our transactions are READ COMMITTED whatever the default is, and take one round where that is enough."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DataError, connection, transaction

from agentstate.isolation import one_round, read_committed, stricter_level
from tests.servers import default_isolation, server_side_binding
from tests.sql import scalar, sql

pytestmark = pytest.mark.django_db(transaction=True)

STRICTER = ["repeatable read", "serializable"]


@pytest.mark.parametrize("level", STRICTER)
def test_our_transactions_are_read_committed(level: str) -> None:
    with default_isolation(level):
        with read_committed():
            assert scalar("SHOW transaction_isolation") == "read committed"
            assert stricter_level() is None
        with transaction.atomic():
            assert stricter_level() == level
        row = one_round("SELECT 1; SELECT current_setting('transaction_isolation')", {})
        assert row == ("read committed",)


@pytest.mark.parametrize("level", STRICTER)
def test_a_callers_transaction_keeps_its_level(level: str) -> None:
    with default_isolation(level), transaction.atomic():
        with read_committed():
            assert stricter_level() == level
        assert one_round("SELECT current_setting('transaction_isolation')", {}) == (level,)


@pytest.mark.parametrize("is_server_side", [False, True])
def test_several_statements_take_one_query(is_server_side: bool, django_assert_num_queries: Any) -> None:
    with server_side_binding(is_server_side):
        assert connection.features.uses_server_side_binding is is_server_side
        with django_assert_num_queries(1):
            assert one_round("SELECT %(a)s::int; SELECT %(b)s || '%%' UNION ALL SELECT 'x'", {"a": 1, "b": "'"}) == (
                "'%",
            )


def test_several_statements_are_atomic() -> None:
    with pytest.raises(DataError, match="division by zero"):
        one_round("""CREATE TABLE made_in_one_round (); SELECT 1 / 0""", {})
    assert scalar("SELECT to_regclass('made_in_one_round')") is None


def test_there_are_no_warnings() -> None:
    notices: list[str] = []
    sql("SELECT 1")
    connection.connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    one_round("SELECT 1", {})
    with read_committed():
        sql("SELECT 1")
    assert notices == []
