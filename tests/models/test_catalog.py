"""The models, compared with the catalog of the database."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, models

from agentstate.models import LegacyState, Project
from agentstate.state.keys import STATE_KEYS

pytestmark = pytest.mark.django_db

MODELS = list(apps.get_app_config("agentstate").get_models(include_auto_created=True))
TABLES = sorted({model._meta.db_table for model in MODELS})
ADOPTED = "Project"
# What the legacy application has in its table and we never touch.
NOT_OURS = {"agencyPackId", "status", "charterJson", "rfpBundleMeta", "sloJson"}

# Each constraint except NOT NULL. Those of the flags' tables are made and named by Django.
CONSTRAINTS = {
    "AgentAttachment": {
        "AgentAttachment_pkey": "PRIMARY KEY (id)",
        "AgentAttachment_project_id_fkey": 'FOREIGN KEY (project_id) REFERENCES "Project"(id) ON UPDATE CASCADE '
        "ON DELETE SET NULL",
        "AgentAttachment_session_id_fkey": 'FOREIGN KEY (session_id) REFERENCES "AgentSession"(id) ON DELETE SET NULL',
    },
    "AgentDocument": {
        "AgentDocument_pkey": "PRIMARY KEY (id)",
        "AgentDocument_project_id_fkey": 'FOREIGN KEY (project_id) REFERENCES "Project"(id) ON UPDATE CASCADE '
        "ON DELETE CASCADE",
        "AgentDocument_project_sha256_key": "UNIQUE (project_id, sha256)",
        "AgentDocument_role_check": "CHECK ((role = ANY (ARRAY['base'::text, 'version'::text, 'amendment'::text, "
        "'faq'::text, 'template'::text])))",
        "AgentDocument_run_id_fkey": 'FOREIGN KEY (run_id) REFERENCES "AgentWorkflowRun"(id) ON DELETE SET NULL',
    },
    "AgentIncomingFile": {
        "AgentIncomingFile_pkey": "PRIMARY KEY (id)",
        "AgentIncomingFile_run_id_fkey": 'FOREIGN KEY (run_id) REFERENCES "AgentWorkflowRun"(id) ON DELETE CASCADE',
        "AgentIncomingFile_run_ordinal_key": "UNIQUE (run_id, ordinal)",
    },
    "AgentSession": {
        "AgentSession_agent_run_id_fkey": 'FOREIGN KEY (agent_run_id) REFERENCES "AgentWorkflowRun"(id) '
        "ON DELETE SET NULL",
        "AgentSession_pkey": "PRIMARY KEY (id)",
        "AgentSession_project_id_fkey": 'FOREIGN KEY (project_id) REFERENCES "Project"(id) ON UPDATE CASCADE '
        "ON DELETE CASCADE",
        "AgentSession_transcript_check": "CHECK ((jsonb_typeof(transcript_json) = 'array'::text))",
    },
    "AgentSessionEntry": {
        "AgentSessionEntry_pkey": "PRIMARY KEY (session_id, number)",
        "AgentSessionEntry_session_id_fkey": 'FOREIGN KEY (session_id) REFERENCES "AgentSession"(id) '
        "ON UPDATE CASCADE ON DELETE CASCADE",
    },
    "AgentStateApiToken": {
        "AgentStateApiToken_digest_key": "UNIQUE (digest)",
        "AgentStateApiToken_pkey": "PRIMARY KEY (id)",
    },
    "AgentStateFlagChange": {"AgentStateFlagChange_pkey": "PRIMARY KEY (id)"},
    "AgentStateLeftAside": {
        "AgentStateLeftAside_accepted_check": "CHECK (((accepted_at IS NULL) OR (NOT (note = ''::text))))",
        "AgentStateLeftAside_attempts_check": "CHECK ((attempts >= 0))",
        "AgentStateLeftAside_pkey": "PRIMARY KEY (id)",
    },
    "AgentStatePass": {"AgentStatePass_pkey": "PRIMARY KEY (id)"},
    "AgentStatePassRange": {
        "AgentStatePassRange_number_key": "UNIQUE (entry_id, number)",
        "AgentStatePassRange_pkey": "PRIMARY KEY (id)",
    },
    "AgentStateReadCount": {
        "AgentStateReadCount_hour_key": "UNIQUE (hour, finding, reason)",
        "AgentStateReadCount_pkey": "PRIMARY KEY (id)",
    },
    "AgentStateReadDifference": {"AgentStateReadDifference_pkey": "PRIMARY KEY (id)"},
    "AgentStateRolloutStep": {"AgentStateRolloutStep_pkey": "PRIMARY KEY (id)"},
    "AgentStateStepRequest": {"AgentStateStepRequest_pkey": "PRIMARY KEY (id)"},
    "AgentStateUnequalProject": {"AgentStateUnequalProject_pkey": "PRIMARY KEY (id)"},
    "AgentStateVerification": {"AgentStateVerification_pkey": "PRIMARY KEY (id)"},
    "AgentWorkflowRun": {
        "AgentWorkflowRun_pkey": "PRIMARY KEY (id)",
        "AgentWorkflowRun_project_id_fkey": 'FOREIGN KEY (project_id) REFERENCES "Project"(id) ON UPDATE CASCADE '
        "ON DELETE SET NULL",
        "AgentWorkflowRun_project_snapshot_key": "UNIQUE (project_id, snapshot_at)",
        "AgentWorkflowRun_snapshot_check": "CHECK (((snapshot_at IS NULL) OR ((legacy_at IS NOT NULL) AND "
        "COALESCE((jsonb_typeof((result -> 'state'::text)) = 'object'::text), false))))",
        "AgentWorkflowRun_status_check": "CHECK ((status = ANY (ARRAY['pending'::text, 'running'::text, "
        "'succeeded'::text, 'failed'::text, 'canceled'::text])))",
    },
    "AgentWorkflowRunEvent": {
        "AgentWorkflowRunEvent_pkey": "PRIMARY KEY (id)",
        "AgentWorkflowRunEvent_run_created_key": "UNIQUE (run_id, created_at)",
        "AgentWorkflowRunEvent_run_id_fkey": 'FOREIGN KEY (run_id) REFERENCES "AgentWorkflowRun"(id) '
        "ON DELETE CASCADE",
    },
    "Project": {"Project_pkey": "PRIMARY KEY (id)"},
}
# Every index and its reader.
INDEXES = {
    "AgentAttachment": {
        "(id)",
        "(project_id)",  # the foreign key's SET NULL
        "(session_id) WHERE (session_id IS NOT NULL)",  # the foreign key's SET NULL
    },
    "AgentDocument": {
        "(id)",
        "(project_id, sha256)",  # the intake, a project's documents, and their cascade
        "(run_id) WHERE (run_id IS NOT NULL)",  # the foreign key's SET NULL
    },
    "AgentIncomingFile": {
        "(id)",
        "(run_id, ordinal)",  # the files of an intake, and their cascade
    },
    "AgentSession": {
        "(id)",
        "(project_id)",  # a project's sessions, and their cascade
        "(agent_run_id) WHERE (agent_run_id IS NOT NULL)",  # the sessions of a run that is deleted
        "(created_at, hashtextextended(id, (0)::bigint))",  # the list of sessions
        '("left"(id, 32) COLLATE "C")',  # the search by how an id begins
        '("left"(memory_id, 32) COLLATE "C") WHERE (memory_id IS NOT NULL)',  # the search by a memory
    },
    "AgentSessionEntry": {
        "(session_id, number)",  # a session's entries in order, and their cascade
        "(session_id, item_id) WHERE (item_id IS NOT NULL)",  # the look-up of an item
    },
    "AgentStateApiToken": {
        "(id)",
        "(digest)",  # the token of a request
        "(name) WHERE (revoked_at IS NULL)",  # the token that a command names
    },
    "AgentStateFlag": {
        "(id)",
        "(name)",  # the gates
        "(name varchar_pattern_ops)",  # waffle's own
        "(created)",  # waffle's own
    },
    "AgentStateFlagChange": {"(id)"},
    "AgentStateFlag_groups": {"(id)", "(flag_id)", "(group_id)", "(flag_id, group_id)"},
    "AgentStateFlag_users": {"(id)", "(flag_id)", "(user_id)", "(flag_id, user_id)"},
    "AgentStateLeftAside": {
        "(id)",
        "(md5(project_id), direction)",  # the entry of a project
    },
    "AgentStatePass": {"(id)"},
    "AgentStatePassRange": {"(id)", "(entry_id, number)"},
    "AgentStateReadCount": {
        "(id)",
        "(hour, finding, reason)",  # the counting, and the counts since an hour
    },
    "AgentStateReadDifference": {"(id)"},
    "AgentStateRolloutStep": {"(id)"},
    "AgentStateStepRequest": {"(id)"},
    "AgentStateUnequalProject": {
        "(id)",
        "(verification_id)",  # the unequal projects of the newest verification, and their cascade
    },
    "AgentStateVerification": {"(id)"},
    "AgentWorkflowRun": {
        "(id)",
        "(project_id, snapshot_at)",  # the newest snapshot, and the foreign key's SET NULL
        "(hashtextextended(project_id, (0)::bigint), started_at)",  # a project's runs in order
        # the projects by their newest snapshots
        "(snapshot_at, hashtextextended(id, (0)::bigint)) WHERE (num_nonnulls(project_id, snapshot_at) = 2)",
        # the list of runs, and its filters
        (
            "((\nCASE\n    WHEN ((workflow_id = 'legacy_snapshot'::text) AND (status = 'succeeded'::text) AND "
            "(snapshot_at IS NOT NULL)) THEN 'backfilled'::text\n    ELSE (status || (num_nulls(snapshot_at))::text)\n"
            "END), started_at, hashtextextended(id, (0)::bigint))"
        ),
        '("left"(workflow_id, 100), status, num_nulls(snapshot_at), started_at, hashtextextended(id, (0)::bigint))',
        # the list by duration
        (
            "(((completed_at - started_at)), hashtextextended(id, (0)::bigint)) WHERE ("
            "(completed_at > started_at) AND (completed_at < '9999-01-01 00:00:00+00'::timestamp with time zone) AND "
            "(started_at >= '0002-01-01 00:00:00+00'::timestamp with time zone))"
        ),
        # the runs of one error, and when it was first seen
        (
            '("left"(regexp_replace((split_part(ltrim(translate("left"(COALESCE(error, \'\'::text), 1000), '
            "'\r'::text, '\n'::text), ' \t\n'::text), '\n'::text, 1) COLLATE \"C\"), "
            "'https?://\\S+|[^\\s@]+@[^\\s@]+|0x[0-9a-f]+|"
            "\\m(?=[\\w-]*\\d[\\w-]*\\d)[\\w-]{8,}|\\d+([.,:]\\d+)*'::text, '#'::text, 'gi'::text), 200), started_at, "
            "hashtextextended(id, (0)::bigint)) WHERE (status = 'failed'::text)"
        ),
        '("left"(id, 32) COLLATE "C")',  # the search by how an id begins
    },
    "AgentWorkflowRunEvent": {
        "(id)",
        "(run_id, created_at)",  # a run's events in order, and their cascade
        "(run_id, created_at) WHERE (type = 'state.changed'::text)",  # a project's history
        # the runs that called a tool, and those in which a call of it failed
        "(\"left\"((payload ->> 'tool'::text), 100), created_at) WHERE (type = 'tool.invocation'::text)",
        (
            "(\"left\"((payload ->> 'tool'::text), 100), created_at) WHERE ((type = 'tool.result'::text) AND "
            "((payload ->> 'status'::text) = 'error'::text))"
        ),
        # a run's failures
        (
            "(run_id, created_at) WHERE ((type ~ '(^|[._])(error|failed|failure|exception)$'::text) OR "
            "(lower((payload ->> 'status'::text)) = ANY (ARRAY['error'::text, 'failed'::text, 'failure'::text])))"
        ),
    },
    "Project": {"(id)"},
}


def rows(query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def columns(table: str) -> dict[str, tuple[str, bool]]:
    """Return the type of each column, and whether it may be NULL."""
    found = rows(
        """
        SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull FROM pg_attribute
        WHERE attrelid = quote_ident(%s)::regclass AND attnum > 0 AND NOT attisdropped
        """,
        table,
    )
    return {name: (kind, nullable) for name, kind, nullable in found}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_each_field_is_a_column_of_its_type_and_nullability(model: type[models.Model]) -> None:
    fields = model._meta.local_concrete_fields
    declared = ", ".join(f'"{field.column}" {field.db_type(connection)}' for field in fields)
    present = columns(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE expected ({declared})")

    expected = {name: kind for name, (kind, _) in columns("expected").items()}
    assert {name: present[name] for name in expected} == {
        field.column: (expected[field.column], field.null) for field in fields
    }


@pytest.mark.parametrize("table", TABLES)
def test_each_column_is_a_field(table: str) -> None:
    fields = {
        field.column
        for model in MODELS
        if model._meta.db_table == table
        for field in model._meta.local_concrete_fields
    }

    assert columns(table).keys() - fields == (NOT_OURS if table == ADOPTED else set())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_the_database_has_the_defaults_that_the_models_leave_to_it(model: type[models.Model]) -> None:
    left = {field.column for field in model._meta.local_concrete_fields if field.has_db_default()}

    defaults = rows(
        """
        SELECT attname FROM pg_attribute JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = quote_ident(%s)::regclass
        """,
        model._meta.db_table,
    )

    assert left <= {name for (name,) in defaults}


@pytest.mark.parametrize("table", CONSTRAINTS)
def test_constraints_are_these_and_all_of_them_hold(table: str) -> None:
    found = rows(
        """
        SELECT conname, pg_get_constraintdef(oid), convalidated, condeferrable FROM pg_constraint
        WHERE conrelid = quote_ident(%s)::regclass AND contype <> 'n'
        """,
        table,
    )

    assert {name: definition for name, definition, _, _ in found} == CONSTRAINTS[table]
    assert all(validated and not deferrable for _, _, validated, deferrable in found)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_constraints_and_indexes_have_the_names_that_the_models_give_them(model: type[models.Model]) -> None:
    named = {item.name for item in (*model._meta.constraints, *model._meta.indexes)}

    found = rows(
        """
        SELECT conname FROM pg_constraint WHERE conrelid = quote_ident(%s)::regclass
        UNION SELECT relname FROM pg_class JOIN pg_index ON indexrelid = oid
        WHERE indrelid = quote_ident(%s)::regclass
        """,
        model._meta.db_table,
        model._meta.db_table,
    )

    assert named <= {name for (name,) in found}


@pytest.mark.parametrize("table", TABLES)
def test_each_table_has_exactly_the_intended_indexes(table: str) -> None:
    found = rows(
        "SELECT substring(pg_get_indexdef(indexrelid) FROM ' USING btree (.*)') FROM pg_index "
        "WHERE indrelid = quote_ident(%s)::regclass",
        table,
    )

    assert sorted(index for (index,) in found) == sorted(INDEXES[table])


def test_no_column_has_a_compression_of_its_own() -> None:
    found = rows(
        """
        SELECT attrelid::regclass, attname FROM pg_attribute
        WHERE attrelid = ANY (SELECT quote_ident(name)::regclass FROM unnest(%s::text[]) name) AND attcompression <> ''
        """,
        TABLES,
    )

    assert found == []


def test_the_database_has_no_other_tables_or_triggers_of_ours() -> None:
    tables = rows("""SELECT relname FROM pg_class WHERE relkind IN ('r', 'v', 'm') AND relname LIKE 'Agent%%'""")
    triggers = rows(
        """
        SELECT tgrelid::regclass::text, tgname, tgenabled, proname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
        WHERE NOT tgisinternal AND tgrelid = ANY (SELECT quote_ident(name)::regclass FROM unnest(%s::text[]) name)
        """,
        TABLES,
    )

    assert sorted([*(table for (table,) in tables), ADOPTED]) == sorted([*TABLES, "AgentSessionTranscript"])
    assert sorted(triggers) == [
        ('"AgentStateFlag"', "agentstate_keep_flag_changes", "O", "agentstate_keep_flag_changes"),
        ('"AgentStateFlag_groups"', "agentstate_keep_flag_changes", "O", "agentstate_keep_flag_changes"),
        ('"AgentStateFlag_groups"', "agentstate_lock_flag", "O", "agentstate_lock_flag"),
        ('"AgentStateFlag_users"', "agentstate_keep_flag_changes", "O", "agentstate_keep_flag_changes"),
        ('"AgentStateFlag_users"', "agentstate_lock_flag", "O", "agentstate_lock_flag"),
        ('"Project"', "zz_agentstate_state_clock", "A", "agentstate_state_clock"),
    ]


def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_state_keys_are_the_five_columns_of_the_legacy_state() -> None:
    fields = {field.attname: field.column for field in LegacyState._meta.concrete_fields if not field.primary_key}

    assert {key.attribute: key.column for key in STATE_KEYS} == fields
    assert not {key.column for key in STATE_KEYS} & {field.column for field in Project._meta.concrete_fields}


def test_each_foreign_key_has_an_index_for_what_its_target_deletes() -> None:
    """Without one, each deleted row looks through the whole table that refers to it."""
    without = rows(
        """
        SELECT conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
        WHERE contype = 'f' AND relname LIKE 'Agent%%' AND NOT EXISTS (
            SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1]
                AND (indpred IS NULL OR pg_get_expr(indpred, indrelid) = format('(%%I IS NOT NULL)', (
                    SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[1]))))
        ORDER BY conname
        """
    )
    assert without == []
