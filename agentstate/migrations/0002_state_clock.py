"""Add the legacy home's clock: one column, and one trigger that moves it for every writer.

0013 replaces the function. See docs/decisions/0003-a-trigger-on-a-foreign-table.md.
"""

from __future__ import annotations

from django.db import migrations, models
from django.db.models.functions import Now

from agentstate.migrations._operations import RecordedMigration, RunLocking

# A column with a stable default does not rewrite the table. The function runs with the rights of the role that writes,
# which may know "Project" only: it reads no table. The trigger's name sorts last, so that it sees what other triggers
# changed. ENABLE ALWAYS makes it fire for replication roles too.
CLOCK = """
ALTER TABLE "Project" ADD COLUMN "stateUpdatedAt" timestamptz NOT NULL DEFAULT now();

CREATE OR REPLACE FUNCTION agentstate_state_clock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW."stateUpdatedAt" > OLD."stateUpdatedAt" THEN
        RETURN NEW;  -- set by the writer: only agentstate does that
    END IF;
    IF NEW."rfpNormJson" IS DISTINCT FROM OLD."rfpNormJson"
        OR NEW."factsJson" IS DISTINCT FROM OLD."factsJson"
        OR NEW."coverageJson" IS DISTINCT FROM OLD."coverageJson"
        OR NEW."conflictLogJson" IS DISTINCT FROM OLD."conflictLogJson"
        OR NEW."eligibilityJson" IS DISTINCT FROM OLD."eligibilityJson"
    THEN
        NEW."stateUpdatedAt" := greatest(clock_timestamp(), OLD."stateUpdatedAt" + interval '1 microsecond');
    ELSE
        NEW."stateUpdatedAt" := OLD."stateUpdatedAt";  -- a stale row written back does not turn the clock back
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER zz_agentstate_state_clock BEFORE UPDATE ON "Project"
    FOR EACH ROW EXECUTE FUNCTION agentstate_state_clock();
ALTER TABLE "Project" ENABLE ALWAYS TRIGGER zz_agentstate_state_clock;
"""

# The first statement takes the lock that the others need. Other tools may have dropped any of this before.
NO_CLOCK = """
ALTER TABLE IF EXISTS "Project" DROP COLUMN IF EXISTS "stateUpdatedAt";
DROP TRIGGER IF EXISTS zz_agentstate_state_clock ON "Project";
DROP FUNCTION IF EXISTS agentstate_state_clock();
DROP FUNCTION IF EXISTS agentstate_clock_without_columns();
"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0001_agentkit_state_refactor")]
    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    model_name="project",
                    name="state_updated_at",
                    field=models.DateTimeField(
                        db_column="stateUpdatedAt",
                        db_default=Now(),
                        editable=False,
                        help_text="The legacy home's clock. The database moves it when any writer changes one of the "
                        "five columns.",
                    ),
                ),
            ],
            database_operations=[RunLocking(CLOCK, NO_CLOCK)],
        ),
    ]
