"""The tokens and the cost of a run, as people read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.urls import reverse

from agentstate.admin.run.timeline.usage import usage_in_short, usage_lines
from agentstate.recording import record
from tests.admin.run.run_pages import address, get, text_of
from tests.admin.run.timeline.scenes import make_run
from tests.admin.viewers import superuser
from tests.recording.recorded import the_run


@pytest.mark.django_db
def test_the_pages_of_a_run_show_its_usage() -> None:
    with record("intake") as run:
        run.usage(
            model="gpt-5", input_tokens=9000, cached_tokens=400, output_tokens=80, reasoning_tokens=20, cost_usd=0.0123
        )
        run.usage(model="<other>", input_tokens=1, requests=2)
    page = text_of(get(the_run()))
    assert "Usage: 9,001 tokens in, 80 out, $0.012 and 2 unpriced requests" in page
    assert "All models 3 9,001 400 80 20 $0.012 and 2 unpriced requests" in page
    assert "gpt-5 1 9,000 400 80 20 $0.012" in page
    assert "<other> 2 1 0 0 0 cost unknown" in page
    listed = text_of(superuser().get(reverse("admin:agentstate_agentworkflowrun_changelist")))
    assert "9,081 tokens, $0.012 and 2 unpriced requests" in listed
    download = json.loads(superuser().get(address(the_run(), "download")).getvalue())
    assert download["usage"] == the_run().usage


@pytest.mark.django_db
def test_a_run_without_usage_shows_none() -> None:
    assert "Usage: " not in text_of(get(make_run()))


@pytest.mark.parametrize(
    ("usage", "short", "sentence"),
    [
        ({"input_tokens": 5, "models": {"a": {"input_tokens": 5}}}, "5 tokens", "5 tokens in, 0 out, cost unknown"),
        ({"cost_usd": 12.5, "unpriced_requests": 1}, "0 tokens, $12.50 and 1 unpriced request", None),
        ({"cost_usd": 0}, "0 tokens, $0.00", "0 tokens in, 0 out, $0.00"),
        ({"cost_usd": 1e-9, "input_tokens": "many", "models": [1]}, "0 tokens, under $0.000001", None),
        ({"models": {"a": 5, "b": None}}, "0 tokens", "0 tokens in, 0 out, cost unknown"),
        ([1], "", None),
        (None, "", None),
    ],
)
def test_every_usage_value_is_described(usage: Any, short: str, sentence: str | None) -> None:
    lines = usage_lines(usage)
    assert usage_in_short(usage) == short
    assert bool(lines) == isinstance(usage, dict)
    if sentence:
        assert lines[0].sentence == sentence
