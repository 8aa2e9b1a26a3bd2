from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentstate.state.paths import first_difference
from tests import scenes
from tests.factories import ProjectFactory

pytestmark = pytest.mark.django_db


def path(one: str | None, other: str | None) -> str | None:
    return scenes.one(
        f"SELECT {first_difference('one', 'other')} FROM (SELECT %s::jsonb, %s::jsonb) d (one, other)", one, other
    )[0]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ('{"a": 1}', '{"a": 2}', "a"),
        ('{"a": 1}', "{}", "a"),
        ("{}", '{"a": null}', "a"),
        (
            '{"coverage": {"requirements": [{}, {"status": 1}]}}',
            '{"coverage": {"requirements": [{}, {}]}}',
            "coverage.requirements[1].status",
        ),
        ("[1, 2, 3]", "[1, 2]", "[2]"),
        ("[1, 2, 3]", "[1, 9, 3, 4]", "[1]"),
        ('{"b": 1, "a": 1}', '{"b": 2, "a": 2}', "a"),
        ('{"a": [1]}', '{"a": {"0": 1}}', "a"),
        ('{"": 1}', '{"": 2}', '[""]'),
        ('{"a b": {"c": 1}}', '{"a b": {"c": 2}}', '["a b"].c'),
        ('{"a\\"b.": 1}', '{"a\\"b.": 2}', '["a\\"b."]'),
        ("1", "2", ""),
        ("null", None, ""),
        ("{}", "[]", ""),
    ],
)
def test_the_first_difference_is_named(one: str, other: str | None, expected: str) -> None:
    assert path(one, other) == expected
    assert path(other, one) == expected


@pytest.mark.parametrize(
    ("one", "other"), [("{}", "{}"), ("null", "null"), (None, None), ("1", "1.0"), ('{"a":1,"b":2}', '{"b":2,"a":1}')]
)
def test_equal_documents_have_none(one: str | None, other: str | None) -> None:
    assert path(one, other) is None


def test_the_tenth_entry_comes_after_the_second() -> None:
    entries = list(range(12))
    assert path(json.dumps(entries), json.dumps([*entries[:2], "x", *entries[3:10], "x", 11])) == "[2]"


def test_depth_does_not_matter() -> None:
    deep = "[" * 500 + "{}" + "]" * 500
    assert path(deep, deep.replace("{}", "1")) == "[0]" * 500


def test_size_does_not_matter() -> None:
    """Stored and packed, as large documents are: unpacking one for each of its entries takes minutes."""
    entries = [{"id": f"fact_{number}", "text": f"what was said {number * 7919 % 10007}"} for number in range(20_000)]
    ids = [
        ProjectFactory(documents={"facts": json.dumps(facts)}).id
        for facts in (entries, [*entries[:-1], {**entries[-1], "text": "else"}])
    ]
    scenes.run_sql("SET LOCAL statement_timeout = '60s'")

    found = scenes.one(
        f"""SELECT {first_difference('one."factsJson"', 'other."factsJson"')}
        FROM "Project" one, "Project" other WHERE one.id = %s AND other.id = %s""",
        *ids,
    )

    assert found == ("[19999].text",)


documents = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "", "c d"]), inner),
    max_leaves=6,
)


@given(one=documents, other=documents)
def test_there_is_a_path_exactly_where_documents_differ(one: object, other: object) -> None:
    assert (path(json.dumps(one), json.dumps(other)) is None) == (
        json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )
