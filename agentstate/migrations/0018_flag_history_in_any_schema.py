"""Keep the history of the flags in whatever schema their tables are, also after the schema is renamed.

The functions of 0006 carry the name of the schema in their search path. These look in the schema of the table that
fired the trigger. The function's own SET lets set_config(…, true) end with the function.
"""

from __future__ import annotations

from django.db import migrations

from agentstate.migrations._operations import RecordedMigration, with_user_column

FUNCTIONS = """
CREATE OR REPLACE FUNCTION agentstate_keep_flag_changes() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
BEGIN
    PERFORM set_config('search_path', quote_ident(TG_TABLE_SCHEMA), true);
    INSERT INTO "AgentStateFlagChange" (flag, before, after, changed_at, changed_by)
    SELECT coalesce(present.flag, past.flag), past.after, present.settings, clock_timestamp(),
        coalesce(nullif(current_setting('agentstate.actor', true), ''), session_user)
    FROM (
        SELECT flag.name AS flag,
            to_jsonb(flag) - ARRAY['id', 'name', 'created', 'modified'] || jsonb_build_object(
                'users', coalesce((SELECT jsonb_agg(user_id ORDER BY user_id)
                                   FROM "AgentStateFlag_users" WHERE flag_id = flag.id), '[]'),
                'groups', coalesce((SELECT jsonb_agg(group_id ORDER BY group_id)
                                    FROM "AgentStateFlag_groups" WHERE flag_id = flag.id), '[]')
            ) AS settings
        FROM "AgentStateFlag" flag
    ) present
    FULL JOIN (
        SELECT flag, after FROM "AgentStateFlagChange"
        WHERE id IN (SELECT max(id) FROM "AgentStateFlagChange" GROUP BY flag)
    ) past ON past.flag = present.flag
    WHERE past.after IS DISTINCT FROM present.settings
    ORDER BY 1;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION agentstate_lock_flag() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
BEGIN
    PERFORM set_config('search_path', quote_ident(TG_TABLE_SCHEMA), true);
    IF TG_OP = 'DELETE' THEN
        PERFORM FROM "AgentStateFlag" WHERE id = OLD.flag_id FOR NO KEY UPDATE;
        RETURN OLD;
    END IF;
    PERFORM FROM "AgentStateFlag" WHERE id = NEW.flag_id FOR NO KEY UPDATE;
    RETURN NEW;
END
$$;
"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0017_default_compression")]
    # Backwards, they stay until 0006 drops them: the version before runs with them just as well.
    operations = [migrations.RunSQL(with_user_column(FUNCTIONS), migrations.RunSQL.noop)]
