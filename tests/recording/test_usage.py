"""What a run's model calls use adds up in the run."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync

from agentstate.recording import RunNotFound, arecord, record
from tests.recording.recorded import events_of, in_threads, the_run
from tests.sql import scalar, sql

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.django_db

PRICES = {
    "gpt-5": {"input": 1.25, "cached": Decimal("0.125"), "output": 10},
    "plain": {"input": 1, "output": 2},
    "broken": {"input": "1"},
}


def total(**members: Any) -> dict[str, Any]:
    counts = ("requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "unpriced_requests")
    return {**dict.fromkeys(counts, 0), **members}


def test_usage_adds_up_in_the_run_by_model_and_in_all() -> None:
    with record("intake") as run:
        assert run.run.usage is None
        run.usage(model="a", input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=2, cost_usd=0.1)
        run.usage(model="b", input_tokens=1, agent="Planner")
        run.usage(model="a", input_tokens=3, requests=2, cost_usd=Decimal("0.2"))
        assert run.run.usage == the_run().usage
    of_a = total(
        requests=3, input_tokens=13, output_tokens=5, cached_tokens=4, reasoning_tokens=2, cost_usd=pytest.approx(0.3)
    )
    of_b = total(requests=1, input_tokens=1, unpriced_requests=1)
    assert the_run().usage == {
        **{name: of_a[name] + of_b[name] for name in of_b},
        "cost_usd": pytest.approx(0.3),
        "models": {"a": of_a, "b": of_b},
    }
    assert scalar("""SELECT usage ->> 'cost_usd' FROM "AgentWorkflowRun" """) == "0.3"
    assert events_of(run.run_id)[1] == (
        "model.usage",
        {
            "model": "b", "agent": "Planner", "requests": 1, "input_tokens": 1, "cached_tokens": 0, "output_tokens": 0,
            "reasoning_tokens": 0, "cost_usd": None,
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "given", "cost"),
    [
        ("gpt-5", {"cached_tokens": 100}, Decimal("0.0111375")),
        ("gpt-5", {"cached_tokens": 5000}, Decimal("0.010125")),
        ("plain", {"cached_tokens": 100}, Decimal("0.003")),
        ("plain", {"cost_usd": 0}, Decimal(0)),
        ("gpt-5-2025-08-07", {}, None),
        ("broken", {}, None),
    ],
)
def test_a_cost_is_given_or_computed_or_unknown(
    settings: SettingsWrapper, model: str, given: dict[str, Any], cost: Decimal | None
) -> None:
    settings.AGENTSTATE_PRICES = PRICES
    with record("intake") as run:
        run.usage(model=model, input_tokens=1000, output_tokens=1000, **given)
    known = scalar("""SELECT (usage ->> 'cost_usd')::numeric FROM "AgentWorkflowRun" """)
    assert (known, the_run().usage["unpriced_requests"]) == (cost, int(cost is None))


@pytest.mark.django_db(transaction=True)
def test_concurrent_additions_lose_nothing() -> None:
    with record("intake") as run:
        in_threads(lambda place: [run.usage(model=f"m{place % 2}", input_tokens=1) for _ in range(10)], 6)
    usage = the_run().usage
    assert (usage["requests"], usage["input_tokens"], len(events_of(run.run_id))) == (60, 60, 60)
    assert {model: each["requests"] for model, each in usage["models"].items()} == {"m0": 30, "m1": 30}


def test_an_addition_is_one_round_to_the_database(django_assert_num_queries: Any) -> None:
    with record("intake") as run, django_assert_num_queries(1):
        run.usage(model="a")


@pytest.mark.django_db(transaction=True)
def test_asynchronous_usage() -> None:
    async def work() -> None:
        async with arecord("intake") as run:
            await run.usage(model="a", input_tokens=7, cost_usd=1)

    async_to_sync(work)()
    assert the_run().usage["models"]["a"] == total(requests=1, input_tokens=7, cost_usd=1)


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_a_run_that_has_ended_takes_usage_and_marks_it_as_late(status: str) -> None:
    with record("intake") as run:
        sql('UPDATE "AgentWorkflowRun" SET status = %s', status)
        run.run.status = status  # nothing is left to end
        run.usage(model="a", input_tokens=7)
    ((_, payload),) = events_of(run.run_id)
    assert (payload["$late"], the_run().usage["input_tokens"], the_run().status) == (True, 7, status)


@pytest.mark.parametrize(
    "given", [{"input_tokens": -1}, {"output_tokens": 1.5}, {"requests": True}, {"cost_usd": -0.1}, {"cost_usd": "1"}]
)
def test_an_invalid_number_is_refused(given: dict[str, Any]) -> None:
    with record("intake") as run, pytest.raises(ValueError, match=next(iter(given))):
        run.usage(model="a", **given)
    assert (the_run().usage, events_of(run.run_id)) == (None, [])


@pytest.mark.parametrize("usage", ["5", "[]", '{"input_tokens": "many"}'])
def test_an_odd_total_counts_as_none(usage: str) -> None:
    with record("intake") as run:
        sql('UPDATE "AgentWorkflowRun" SET usage = %s::jsonb', usage)
        run.usage(model="a\0", input_tokens=7)
    assert the_run().usage["input_tokens"] == 7
    assert the_run().usage["models"].keys() == {"a\\u0000"}


def test_a_deleted_run_has_no_usage() -> None:
    with record("intake") as run:
        sql('DELETE FROM "AgentWorkflowRun"')
        run.run.status = "canceled"  # nothing is left to end
        with pytest.raises(RunNotFound):
            run.usage(model="a")
