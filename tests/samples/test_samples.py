"""Sample projects: the same for the same seed, added without a clash, and of every shape that a legacy table has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connection, transaction

from agentstate import samples
from agentstate.samples import ProjectTableMissing, ProjectTableNotEmpty, ProjectTableNotOurs, make_projects

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker

# A seed whose first rows include one of several megabytes, which otherwise takes up to 20,000 rows.
SEED = 12
ROWS = 3_000
COLUMNS = ["rfpNormJson", "factsJson", "coverageJson", "conflictLogJson", "eligibilityJson", "meta"]

NULLS = {f"{column} is SQL NULL": f'"{column}" IS NULL' for column in COLUMNS} | {
    f"{column} is JSON null": f"""("{column}" = 'null')""" for column in COLUMNS
}

NORMAL = {
    "empty": """num_nulls("rfpNormJson", "factsJson", "coverageJson", "conflictLogJson", "eligibilityJson") = 5""",
    "empty with a chat": """num_nulls("rfpNormJson", "factsJson", "coverageJson", "conflictLogJson",
        "eligibilityJson") = 5 AND meta @? '$.chat[*].role'""",
    "a chat": "meta @? '$.chat[*] ? (exists(@.role) && exists(@.content) && !exists(@.at))'",
    "a chat without entries": "meta -> 'chat' = '[]'",
    "a chat of JSON null": "meta -> 'chat' = 'null'",
    "meta without a chat": "meta ? 'origin' AND NOT meta ? 'chat'",
    "facts, first generation": """jsonb_typeof("factsJson") = 'array' AND "factsJson" @? '$[*].evidence.page'""",
    "facts without evidence": """"factsJson" @? '$[*] ? (exists(@.strength) && !exists(@.evidence))'""",
    "facts, second generation": """"factsJson" ?& ARRAY['org', 'project', 'team', 'evidence']""",
    "facts without a team": """"factsJson" ? 'evidence' AND NOT "factsJson" ? 'team'""",
    "coverage without details": """"coverageJson" ? 'requirements'
        AND NOT "coverageJson" @? '$.requirements[*].risk'""",
    "requirements of every status": """'["missing", "stubbed", "evidenced", "drafted"]'
        <@ jsonb_path_query_array("coverageJson", '$.requirements[*].status')""",
    "requirements of every risk": """'["low", "medium", "high"]'
        <@ jsonb_path_query_array("coverageJson", '$.requirements[*].risk')""",
    "suggestions": """"coverageJson" @? '$.suggestions[*] ? (@.ratio > 0)'""",
    "a notice with its funder": """"rfpNormJson" @? '$.meta ? (exists(@.funder) && exists(@.deadline))'""",
    "a notice without its funder": """"rfpNormJson" @? '$.meta ? (exists(@.title) && !exists(@.funder))'""",
    "sections, first generation": """"rfpNormJson" @? '$.sections[*] ? (!exists(@.prompt)
        && !exists(@.provenance))'""",
    "sections with everything": """"rfpNormJson" @? '$.sections[*] ? (exists(@.prompt) && exists(@.word_limit)
        && exists(@.subsections) && exists(@.provenance))'""",
    "a notice with everything": """"rfpNormJson" ?& ARRAY['eligibility', 'submission', 'scoring', 'faq']""",
    "citations": """"rfpNormJson" @? '$.citations[*]'""",
    "no conflicts": """"conflictLogJson" = '[]'""",
    "an open conflict": """"conflictLogJson" @? '$[*] ? (exists(@.previous) && !exists(@.resolved))'""",
    "conflicts accepted": """"conflictLogJson" @? '$[*] ? (@.resolved == "accepted")'""",
    "conflicts for the latest": """"conflictLogJson" @? '$[*] ? (@.resolved == "latest")'""",
    "conflicts for the previous": """"conflictLogJson" @? '$[*] ? (@.resolved == "previous")'""",
    "a fatal rule": """"eligibilityJson" @? '$.items[*] ? (@.fatal == true)'""",
    "a rule that is not fatal": """"eligibilityJson" @? '$.items[*] ? (@.fatal == false)'""",
    "a rule that says nothing of it": """"eligibilityJson" @? '$.items[*] ? (!exists(@.fatal))'""",
    "overrides": """"eligibilityJson" ?& ARRAY['items', 'overrides']""",
}

ODD = {
    "coverage, a number": """jsonb_typeof("coverageJson") = 'number'""",
    "coverage, a string": """jsonb_typeof("coverageJson") = 'string'""",
    "coverage, {}": """"coverageJson" = '{}'""",
    "coverage, its score a text": """jsonb_typeof("coverageJson" -> 'score') = 'string'""",
    "coverage, a score no float holds": """"coverageJson" ->> 'score' = '0.30000000000000004'""",
    "coverage, a score of 1e400": """"coverageJson" -> 'score' = '1e400'""",
    "conflict log, mixed": """"conflictLogJson" @> '[42, null]'""",
    "conflict log, nulls": """"conflictLogJson" = '[null, null]'""",
    "conflict log, strings": """"conflictLogJson" = '["deadline moved", "deadline moved"]'""",
    "conflict log, an object": """jsonb_typeof("conflictLogJson") = 'object'""",
    "conflict log, a string": """jsonb_typeof("conflictLogJson") = 'string'""",
    "conflict log, a number of 40 digits": """"conflictLogJson"::text ~ '^[0-9]{40}$'""",
    "eligibility, an array": """jsonb_typeof("eligibilityJson") = 'array'""",
    "eligibility without items": """jsonb_typeof("eligibilityJson") = 'object' AND NOT "eligibilityJson" ? 'items'""",
    "eligibility, a string": """jsonb_typeof("eligibilityJson") = 'string'""",
    "eligibility, items an object": """jsonb_typeof("eligibilityJson" -> 'items') = 'object'""",
    "eligibility, items mixed": """"eligibilityJson" -> 'items' @> '[null, 3]'""",
    "facts, a string": """jsonb_typeof("factsJson") = 'string'""",
    "facts, mixed": """"factsJson" @> '[null]'""",
    "facts, numbers": """"factsJson" -> 'totals' @> '[0.30000000000000004, 1e400]'""",
    "facts, nested deeply": """"factsJson" @? '$.org.org.org.org'""",
    "notice, awkward text": """"rfpNormJson" -> 'meta' ? ''""",
    "notice, sections an object": """jsonb_typeof("rfpNormJson" -> 'sections') = 'object'""",
    "notice, a limit of 40 digits": """"rfpNormJson" #>> '{submission,page_limits,0,limit}' ~ '^[0-9]{40}$'""",
    "notice, an array": """jsonb_typeof("rfpNormJson") = 'array'""",
    "chat, no role": """meta @? '$.chat[*] ? (exists(@.content) && !exists(@.role))'""",
    "chat, content no string": """meta @? '$.chat[*].content ? (@.type() == "object")'""",
    "chat, entries no objects": """meta #> '{chat,1}' = 'null'""",
    "chat, an object": """jsonb_typeof(meta -> 'chat') = 'object'""",
    "chat, a string": """jsonb_typeof(meta -> 'chat') = 'string'""",
    "chat, entries with times": """meta @? '$.chat[*].at'""",
    "meta, an array": """jsonb_typeof(meta) = 'array'""",
    "id with slashes": "id LIKE '%/%'",
    "id with double quotes": """id LIKE '%"%'""",
    "id with single quotes": "id LIKE '%''%'",
    "id with spaces": "id LIKE ' % '",
    "id beyond ASCII": "octet_length(id) > length(id)",
    "id with signs of a URL": "id LIKE '%?%#%'",
    "id of almost 200 characters": "length(id) BETWEEN 190 AND 200",
}


def rows(*columns: str) -> list[tuple[object, ...]]:
    """Return the table's rows in the order of their ids, their JSON as the database has it."""
    with connection.cursor() as cursor:
        names = ", ".join(columns) if columns else '"Project"::text'
        cursor.execute(f'SELECT {names} FROM "Project" ORDER BY id COLLATE "C"')
        return cursor.fetchall()


def rows_of(count: int, seed: int) -> list[tuple[object, ...]]:
    """Return what seeding makes of an empty table, which stays empty."""
    with transaction.atomic():
        make_projects(count, seed)
        made = rows("id", '"createdAt"::text', "to_jsonb(\"Project\") - 'stateUpdatedAt'")
        transaction.set_rollback(True)
    return made


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.django_db
class TestSeed:
    def test_the_same_seed_makes_the_same_rows(self) -> None:
        assert rows_of(200, 3) == rows_of(200, 3)

    def test_another_seed_makes_other_rows(self) -> None:
        ours, others = ({row[0] for row in rows_of(50, seed)} for seed in (3, -3))

        assert len(ours) == len(others) == 50
        assert not ours & others

    def test_a_row_does_not_depend_on_the_number_of_rows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once = rows_of(60, 3)

        monkeypatch.setattr(samples, "CHUNK", 7)

        assert rows_of(60, 3) == at_once

    def test_a_row_does_not_depend_on_the_servers_settings(self) -> None:
        usual = {row[0]: row[2] for row in rows_of(100, 3)}

        execute("""
            SET LOCAL DateStyle = 'SQL, DMY';
            SET LOCAL IntervalStyle = 'sql_standard';
            SET LOCAL TimeZone = 'Asia/Tokyo';
            SET LOCAL bytea_output = 'escape';
            SET LOCAL extra_float_digits = -15;
            SET LOCAL work_mem = '64kB';
        """)

        assert {row[0]: row[2] for row in rows_of(100, 3)} == usual

    def test_it_reports_its_count_and_progress(self, monkeypatch: pytest.MonkeyPatch) -> None:
        heard: list[int] = []
        monkeypatch.setattr(samples, "CHUNK", 20)

        assert make_projects(50, 3, progress=heard.append) == 50

        assert heard == [20, 40, 50]
        assert len(rows("id")) == 50

    def test_it_makes_all_rows_or_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(samples, "CHUNK", 20)

        def interrupt(made: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_projects(50, 3, progress=interrupt)

        assert rows("id") == []


@pytest.mark.django_db
class TestAppend:
    def test_the_numbering_goes_on(self) -> None:
        at_once = {row[0] for row in rows_of(50, 3)}

        make_projects(20, 3)
        make_projects(30, 3, append=True)

        assert {row[0] for row in rows("id")} == at_once

    def test_the_numbering_goes_on_after_rows_of_others(self) -> None:
        at_once = {row[0] for row in rows_of(20, 3)}
        make_projects(30, 4)
        execute(
            """INSERT INTO "Project" (id, "userId", name) VALUES ('cm1fffffffffffffffffffff0', 'u', 'not a sample')"""
        )

        make_projects(20, 3, append=True)

        assert at_once < {row[0] for row in rows("id")}
        assert len(rows("id")) == 51

    def test_deleted_rows_do_not_affect_the_numbering(self) -> None:
        sampled = {row[0] for row in rows_of(120, 3)}
        make_projects(60, 3)
        execute("""DELETE FROM "Project" WHERE id ~ '^cm'""")
        kept = {row[0] for row in rows("id")}
        assert len(kept) == 3  # whose ids are odd: they count as well

        make_projects(60, 3, append=True)

        added = {row[0] for row in rows("id")} - kept
        assert len(added) == 60
        assert added < sampled

    def test_an_empty_table_starts_at_one(self) -> None:
        at_once = {row[0] for row in rows_of(20, 3)}

        make_projects(20, 3, append=True)

        assert {row[0] for row in rows("id")} == at_once


@pytest.mark.django_db
class TestRefusal:
    def test_adding_rows_needs_the_option(self) -> None:
        make_projects(1, 3)

        with pytest.raises(ProjectTableNotEmpty, match=r"already holds rows.*--append"):
            make_projects(1, 4)

        assert len(rows("id")) == 1

    def test_a_missing_table_is_refused(self) -> None:
        execute('ALTER TABLE "Project" RENAME TO "Elsewhere"')

        with pytest.raises(ProjectTableMissing, match=r'no table "Project".*manage\.py migrate'):
            make_projects(1, 3)

    def test_a_legacy_applications_table_is_refused(self) -> None:
        execute("""
            CREATE TABLE "User" (id text PRIMARY KEY);
            ALTER TABLE "Project" ADD FOREIGN KEY ("userId") REFERENCES "User" (id) ON DELETE CASCADE;
        """)

        with pytest.raises(ProjectTableNotOurs, match=r'"Project"\."userId" is a foreign key to "User"') as refusal:
            make_projects(1, 3, append=True)

        assert (refusal.value.column, refusal.value.other_table) == ("userId", "User")
        assert rows("id") == []


@pytest.fixture(scope="module")
def counts(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> dict[str, int]:
    """How many of 3,000 sample projects have each shape."""
    longest = "greatest({})".format(", ".join(f'length("{column}"::text)' for column in COLUMNS))
    conditions = {
        **NULLS,
        **NORMAL,
        **ODD,
        "odd": " OR ".join(f"({condition})" for condition in ODD.values()),
        "like a cuid": "id ~ '^c[0-9a-z]{24}$'",
        "larger": f"{longest} BETWEEN 10e3 AND 20e3",
        "large": f"{longest} BETWEEN 130e3 AND 300e3",
        "very large": f"{longest} BETWEEN 2e6 AND 4e6",
    }
    counted = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions.values())
    with django_db_blocker.unblock(), transaction.atomic(), connection.cursor() as cursor:
        make_projects(ROWS, SEED)
        # With an empty path, so that each document is read from its storage once.
        documents = ", ".join(f"""\"{column}\" #> '{{}}' AS \"{column}\"""" for column in COLUMNS)
        cursor.execute(f'SELECT {counted} FROM (SELECT id, {documents} FROM "Project" OFFSET 0) read')
        numbers = cursor.fetchone()
        transaction.set_rollback(True)
    return dict(zip(conditions, numbers, strict=True))


class TestShapes:
    @pytest.mark.parametrize("shape", NULLS | NORMAL | ODD)
    def test_every_shape_occurs(self, shape: str, counts: dict[str, int]) -> None:
        assert counts[shape] > 0

    def test_one_row_in_twenty_is_odd(self, counts: dict[str, int]) -> None:
        assert counts["odd"] == pytest.approx(ROWS / 20, abs=4)

    def test_a_few_are_empty_and_half_of_those_have_a_chat(self, counts: dict[str, int]) -> None:
        assert 0.02 < counts["empty"] / ROWS < 0.06
        assert 0.3 < counts["empty with a chat"] / counts["empty"] < 0.7

    def test_half_have_a_chat(self, counts: dict[str, int]) -> None:
        assert 0.45 < counts["a chat"] / ROWS < 0.55

    def test_most_ids_look_like_cuids(self, counts: dict[str, int]) -> None:
        assert 0.98 < counts["like a cuid"] / ROWS < 1

    def test_few_are_large(self, counts: dict[str, int]) -> None:
        assert 0.02 < counts["larger"] / ROWS < 0.08
        assert 1 <= counts["large"] <= 2
        assert counts["very large"] == 1
