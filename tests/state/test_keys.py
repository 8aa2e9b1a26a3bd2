from __future__ import annotations

from agentstate.models import LegacyState, Project
from agentstate.state.keys import STATE_KEYS
from tests.factories import COLUMNS


def test_the_keys_are_in_the_order_of_the_first_event() -> None:
    assert [key.name for key in STATE_KEYS] == ["rfpNorm", "facts", "coverage", "conflictLog", "eligibility"]


def test_each_key_is_a_field_of_the_legacy_state_on_its_column() -> None:
    fields = {field.name: field.column for field in LegacyState._meta.fields if not field.primary_key}

    assert fields == {key.attribute: key.column for key in STATE_KEYS}


def test_no_key_is_a_column_of_the_project_model() -> None:
    columns = {field.column for field in Project._meta.fields}

    assert columns.isdisjoint(key.column for key in STATE_KEYS)


def test_the_tests_use_the_same_keys() -> None:
    assert {key.name: key.column for key in STATE_KEYS} == COLUMNS
