"""What stands in the columns comes back exactly: forward, all five columns lost, reverse."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentstate.backfill import Counts
from tests import scenes
from tests.examples import when_quick
from tests.factories import COLUMNS, KEYS, ProjectFactory, RunFactory

pytestmark = pytest.mark.django_db

# -- JSON as text, so that no digit depends on Python


def as_string(text: str, escaped: bool) -> str:
    return json.dumps(text, ensure_ascii=escaped)


def as_array(entries: list[str]) -> str:
    return f"[{', '.join(entries)}]"


def as_object(entries: list[tuple[str, str]]) -> str:
    return f"{{{', '.join(f'{key}: {value}' for key, value in entries)}}}"


# jsonb refuses NUL and lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
strings = st.builds(as_string, texts, st.booleans())
numbers = (
    st.sampled_from(["0.30000000000000004", "0.10", "1e400", "-1E-400", "1e22", "-0", "-0.0", "9007199254740993"])
    | st.integers(-(10**60), 10**60).map(str)
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
)
scalars = st.sampled_from(["null", "true", "false", '""']) | numbers | strings
json_texts = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4).map(as_array) | st.lists(st.tuples(strings, inner), max_size=4).map(as_object)
    ),
    max_leaves=8,
)
columns = st.none() | st.just("null") | json_texts
metas = columns | json_texts.map(lambda chat: as_object([('"chat"', chat), ('"kept"', "0.10")]))
rows = st.tuples(*[columns] * len(KEYS), metas)

OTHER_COLUMNS = """
    SELECT id, "userId", name, "createdAt", "agencyPackId", status, "charterJson"::text, "sloJson"::text, meta::text
    FROM "Project" WHERE id = %s
"""

NASTY = (
    '{"": {"": null}, " ": [], "a": {"b": [null, {"c": null}]}}',
    "[1e400, 0.30000000000000004, 0.10, 1234567890123456789012345678901234567890]",
    '"\\ud83d\\ude00 \\u0001 \\\\u0000 \\" \u2028 \u00e9 e\u0301"',
    "null",
    None,
    '{"chat": [null, "text", {"role": "user", "content": "0.10", "at": null}, {"content": 1e400}]}',
)


def fill(projects: list[tuple[str | None, ...]]) -> None:
    """Fill the table as the legacy application did, in one round."""
    names = ", ".join(f'"{column}"' for column in (*COLUMNS.values(), "meta"))
    scenes.run_sql(
        f"""
        INSERT INTO "Project" (id, "userId", name, "agencyPackId", status, "charterJson", "sloJson", {names})
        SELECT 'project-' || place, 'user', 'name', NULL, 'draft', documents[6], 'null', {
            ", ".join(f"documents[{place}]" for place in range(1, 7))
        }
        FROM (
            SELECT place, ARRAY[a::jsonb, b::jsonb, c::jsonb, d::jsonb, e::jsonb, f::jsonb] AS documents
            FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
                WITH ORDINALITY project (a, b, c, d, e, f, place)
        ) given
        """,
        *map(list, zip(*projects, strict=True)),
    )


def legacy_table() -> list[str]:
    """Return the rows of the legacy table, as the database prints them, without our clock."""
    (names,) = scenes.one(
        """
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = '"Project"'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'stateUpdatedAt'
        """
    )
    return scenes.rows(f'SELECT row({names})::text FROM "Project" ORDER BY id')


def lose_all_columns() -> None:
    nothing = ", ".join(f'"{column}" = NULL' for column in COLUMNS.values())
    scenes.run_sql(f'UPDATE "Project" SET {nothing}')


@pytest.mark.django_db(transaction=True)
@when_quick(8)
@given(projects=st.lists(rows, min_size=1, max_size=12))
@example(projects=[NASTY, (None,) * 6, ("null",) * 6, ("1e400",) * 6])
def test_any_json_survives_forward_loss_and_reverse(projects: list[tuple[str | None, ...]]) -> None:
    scenes.forget_everything()
    fill(projects)
    legacy = legacy_table()

    scenes.forward()

    for homes in scenes.all_homes().values():
        assert homes.in_sync if homes.columns else not homes.snapshots
    assert legacy_table() == legacy
    moved = scenes.everything()
    scenes.forward()
    assert scenes.everything() == moved

    lose_all_columns()
    restored = scenes.reverse(force=True)

    assert legacy_table() == legacy
    assert restored.counts.written == sum(any(project[:5]) for project in projects)
    assert restored.without_snapshot[0] == sum(not any(project[:5]) for project in projects)
    moved = scenes.everything()
    scenes.reverse(force=True)
    scenes.reverse()
    scenes.forward()
    assert scenes.everything() == moved


@pytest.mark.parametrize(
    "document",
    [
        pytest.param("null", id="JSON null"),
        pytest.param("false", id="false"),
        pytest.param('""', id="empty string"),
        pytest.param("{}", id="empty object"),
        pytest.param("[]", id="empty array"),
        pytest.param("0.10", id="trailing zero"),
        pytest.param('[{"a": null}, null]', id="nested nulls"),
        pytest.param("[" * 1000 + "]" * 1000, id="deep"),
    ],
)
def test_one_document_alone_survives_in_any_column(document: str) -> None:
    for key in KEYS:
        ProjectFactory(id=key, documents={key: document})

    scenes.forward()
    scenes.empty_columns(*KEYS)
    scenes.reverse(force=True)

    for key, homes in scenes.all_homes().items():
        assert homes.columns == {key: document}
        assert homes.in_sync


def test_a_document_of_several_megabytes_survives() -> None:
    sentence = json.dumps("It was a dark and stormy night. " * 40)
    large = as_object([(f'"{number:05}"', sentence) for number in range(3000)])
    project = ProjectFactory(documents={"rfpNorm": large, "facts": as_array([large])}).id
    before = scenes.homes_of(project).columns

    scenes.forward()
    scenes.empty_columns(project)
    scenes.reverse(force=True)

    assert scenes.homes_of(project).columns == before
    assert len(before["rfpNorm"]) > 3_000_000


@pytest.mark.parametrize(
    "project", ["a/b", "it's", '"quoted"', " spaces ", "naïve-\u4e2d\u6587-\U0001f600", "%s", "{}", "x" * 2000, "a_1"]
)
def test_any_id_survives(project: str) -> None:
    ProjectFactory(id=project, documents={"facts": "[1]"})

    assert scenes.forward(project).counts.written == 1
    scenes.empty_columns(project)
    assert scenes.reverse(project, force=True).counts.written == 1

    homes = scenes.homes_of(project)
    assert homes.columns == {"facts": "[1]"}
    assert homes.snapshots[0].run.startswith(f"legacy_{project}_")


def test_json_null_and_sql_null_are_distinguished() -> None:
    project = ProjectFactory(documents={"facts": "null"}).id

    scenes.forward()

    assert scenes.homes_of(project).newest.state == {"facts": "null"}


# -- reverse, where AgentKit is ahead


def test_a_key_that_the_snapshot_lacks_becomes_sql_null() -> None:
    project = ProjectFactory(documents={"facts": "[1]", "coverage": "0.10"})
    scenes.forward()
    later = project.state_updated_at + timedelta(seconds=1)
    RunFactory(project=project, state={"coverage": None}, started_at=later, legacy_at=project.state_updated_at)
    assert scenes.standing_of(project.id) == "agentkit_ahead"

    outcome = scenes.reverse()

    assert outcome.counts == Counts(written=1)
    homes = scenes.homes_of(project.id)
    assert homes.columns == {"coverage": "null"}
    assert homes.clock == later
    assert homes.in_sync


def test_columns_in_no_run_are_backed_up_first() -> None:
    project = ProjectFactory(documents={"facts": '"as imported"'}).id
    run = scenes.save(project, "facts", '"saved into both"')
    in_both = scenes.homes_of(project).clock
    scenes.save(project, "facts", '"saved again"', legacy=False, run=run)
    assert [snapshot.state["facts"] for snapshot in scenes.homes_of(project).snapshots] == [
        '"as imported"',
        '"saved again"',
    ]

    outcome = scenes.reverse()

    assert outcome.counts == Counts(written=1, runs=1, events=1)
    homes = scenes.homes_of(project)
    assert [(snapshot.workflow, snapshot.state["facts"]) for snapshot in homes.snapshots] == [
        ("legacy_snapshot", '"as imported"'),
        ("legacy_snapshot", '"saved into both"'),
        ("live", '"saved again"'),
    ]
    assert homes.snapshots[1].at == homes.snapshots[1].legacy_at == in_both
    assert homes.columns == {"facts": '"saved again"'}
    assert homes.in_sync


def test_columns_in_a_run_are_not_backed_up_again() -> None:
    project = ProjectFactory(documents={"facts": "1"}).id
    scenes.save(project, "facts", "2", legacy=False)

    outcome = scenes.reverse()

    assert outcome.counts == Counts(written=1)
    assert scenes.homes_of(project).workflows == ["legacy_snapshot", "live"]


def test_columns_changed_behind_the_trigger_are_backed_up_under_a_new_clock() -> None:
    project = ProjectFactory(documents={"facts": "1"}).id
    scenes.save(project, "facts", "2", legacy=False)
    scenes.damage(project, facts='"damaged"', coverage="0.10")
    before = scenes.homes_of(project)
    assert scenes.standing_of(project) == "agentkit_ahead"

    outcome = scenes.reverse()

    assert outcome.counts == Counts(written=1, runs=2, events=2)
    homes = scenes.homes_of(project)
    assert homes.workflows == ["legacy_snapshot", "live", "legacy_snapshot", "legacy_restore"]
    assert homes.snapshots[:2] == before.snapshots
    _, live, kept, restored = homes.snapshots
    assert kept.state == {"facts": '"damaged"', "coverage": "0.10"}
    assert live.at < kept.at == kept.legacy_at < restored.at
    assert restored.state == live.state == homes.columns == {"facts": "2"}
    assert homes.in_sync
    assert scenes.events_of(restored.run) == [("snapshot.restored", json.dumps({"from": live.run}))]
    again = scenes.everything()
    scenes.reverse()
    assert scenes.everything() == again


def test_damaged_columns_do_not_replace_a_newer_state() -> None:
    project = ProjectFactory(documents={"facts": "1"}).id
    run = scenes.save(project, "facts", "2")
    moment = scenes.homes_of(project).clock
    scenes.save(project, "facts", "3", legacy=False, run=run)
    scenes.damage(project, facts='"damaged"')

    scenes.reverse()
    scenes.reverse(project, force=True, as_of=moment)

    assert scenes.homes_of(project).columns == {"facts": "2"}
    assert {"facts": '"damaged"'} in [snapshot.state for snapshot in scenes.homes_of(project).snapshots]


def test_a_clock_set_back_behind_the_trigger_loses_nothing() -> None:
    project = ProjectFactory(documents={"facts": "1"})
    RunFactory(
        project=project,
        state={"facts": 2},
        started_at=project.state_updated_at - timedelta(days=1),
        legacy_at=project.state_updated_at,
    )
    assert scenes.standing_of(project.id) == "agentkit_ahead"

    outcome = scenes.reverse()

    assert outcome.counts == Counts(written=1, runs=2, events=2)
    homes = scenes.homes_of(project.id)
    assert homes.workflows == ["draft", "legacy_snapshot", "legacy_restore"]
    assert homes.snapshots[1].state == {"facts": "1"}
    assert homes.columns == {"facts": "2"}
    assert homes.in_sync


def test_other_columns_are_unchanged() -> None:
    fill([("1", None, None, None, None, '{"chat": [], "n": 0.10}')])
    project = "project-1"
    before = scenes.one(OTHER_COLUMNS, project)
    scenes.save(project, "facts", "2", legacy=False)

    scenes.reverse()

    assert scenes.homes_of(project).columns == {"rfpNorm": "1", "facts": "2"}
    assert scenes.one(OTHER_COLUMNS, project) == before
