"""Record every change of a flag in its history, whoever makes it. 0018 replaces the functions."""

from __future__ import annotations

from django.db import migrations

from agentstate.migrations._operations import RecordedMigration, with_user_column

# After each statement on flags, their users or their groups, every flag is compared with its newest entry. A
# difference becomes an entry. The entries of a flag therefore form a chain, and no kind of statement is missed.
#
# Two transactions that change the members of one flag at once would each see only their own change. A change of
# members therefore locks the flag's row, as a change of the flag does, and the second one sees the first one's change.
#
# Our code sets agentstate.actor for one transaction. A writer that does not set it is recorded by its role.
HISTORY = """
CREATE OR REPLACE FUNCTION agentstate_keep_flag_changes() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
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
SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM FROM "AgentStateFlag" WHERE id = OLD.flag_id FOR NO KEY UPDATE;
        RETURN OLD;
    END IF;
    PERFORM FROM "AgentStateFlag" WHERE id = NEW.flag_id FOR NO KEY UPDATE;
    RETURN NEW;
END
$$;

CREATE TRIGGER agentstate_keep_flag_changes AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON "AgentStateFlag"
    FOR EACH STATEMENT EXECUTE FUNCTION agentstate_keep_flag_changes();
CREATE TRIGGER agentstate_keep_flag_changes AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON "AgentStateFlag_users"
    FOR EACH STATEMENT EXECUTE FUNCTION agentstate_keep_flag_changes();
CREATE TRIGGER agentstate_keep_flag_changes AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON "AgentStateFlag_groups"
    FOR EACH STATEMENT EXECUTE FUNCTION agentstate_keep_flag_changes();
CREATE TRIGGER agentstate_lock_flag BEFORE INSERT OR UPDATE OR DELETE ON "AgentStateFlag_users"
    FOR EACH ROW EXECUTE FUNCTION agentstate_lock_flag();
CREATE TRIGGER agentstate_lock_flag BEFORE INSERT OR UPDATE OR DELETE ON "AgentStateFlag_groups"
    FOR EACH ROW EXECUTE FUNCTION agentstate_lock_flag();

-- Records the present settings as the first entries: a statement that changes no row fires the trigger too.
SET LOCAL agentstate.actor = 'migration';
UPDATE "AgentStateFlag" SET note = note WHERE false;
"""

# The entries stay until 0001 drops their table.
NO_HISTORY = """
DROP TRIGGER IF EXISTS agentstate_keep_flag_changes ON "AgentStateFlag";
DROP TRIGGER IF EXISTS agentstate_keep_flag_changes ON "AgentStateFlag_users";
DROP TRIGGER IF EXISTS agentstate_keep_flag_changes ON "AgentStateFlag_groups";
DROP TRIGGER IF EXISTS agentstate_lock_flag ON "AgentStateFlag_users";
DROP TRIGGER IF EXISTS agentstate_lock_flag ON "AgentStateFlag_groups";
DROP FUNCTION IF EXISTS agentstate_keep_flag_changes();
DROP FUNCTION IF EXISTS agentstate_lock_flag();
"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0005_gates")]
    operations = [migrations.RunSQL(with_user_column(HISTORY), NO_HISTORY)]
