"""Give our id columns the collation of "Project"."id".

PostgreSQL cannot use an index whose collation differs from the one in the query, so that each look-up of a project's
runs would read them all. Where the collations are equal already, nothing is locked and nothing changes. Where they
differ, the indexes of our tables are rebuilt.
"""

from __future__ import annotations

from django.db import migrations

from agentstate.migrations._operations import RunLocking

MATCH_COLLATION = """
DO $do$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('ALTER TABLE %s %s', ours.attrelid::regclass, string_agg(
            format('ALTER COLUMN %I TYPE text COLLATE %I.%I', ours.attname, nspname, collname), ', '))
        FROM (VALUES
            ('"AgentWorkflowRun"', 'id'), ('"AgentWorkflowRun"', 'project_id'),
            ('"AgentWorkflowRunEvent"', 'id'), ('"AgentWorkflowRunEvent"', 'run_id'),
            ('"AgentSession"', 'id'), ('"AgentSession"', 'project_id'), ('"AgentSession"', 'agent_run_id'),
            ('"AgentStateLeftAside"', 'project_id'), ('"AgentStateReadDifference"', 'project_id')
        ) ids (relation, name)
        JOIN pg_attribute ours ON ours.attrelid = to_regclass(relation) AND ours.attname = name
        JOIN pg_attribute theirs ON theirs.attrelid = '"Project"'::regclass AND theirs.attname = 'id'
        JOIN pg_collation ON pg_collation.oid = theirs.attcollation
        JOIN pg_namespace ON pg_namespace.oid = collnamespace
        WHERE ours.attcollation <> theirs.attcollation
        GROUP BY ours.attrelid
    LOOP
        EXECUTE statement;
    END LOOP;
END
$do$
"""


class Migration(migrations.Migration):
    dependencies = [("agentstate", "0015_validate_following_foreign_keys")]
    # Backwards, the collation stays: the version before runs with it, and faster.
    operations = [RunLocking(MATCH_COLLATION, "SELECT")]
