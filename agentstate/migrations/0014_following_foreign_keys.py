"""Let our rows follow a project whose id changes, as they follow one that is deleted.

The synthetic ids of backfilled rows (legacy_<project id>…) keep the id that the project had when they were made. To
find a project's rows, compare project_id, never an id that is built from the project's.

Made without validation, in an instant; 0015 validates.
"""

from __future__ import annotations

from agentstate.migrations._operations import RecordedMigration, RunLocking

FOREIGN_KEYS = """
ALTER TABLE "AgentWorkflowRun" DROP CONSTRAINT IF EXISTS "AgentWorkflowRun_project_id_fkey",
    ADD CONSTRAINT "AgentWorkflowRun_project_id_fkey"
    FOREIGN KEY (project_id) REFERENCES "Project" (id) ON UPDATE CASCADE ON DELETE SET NULL NOT VALID;
ALTER TABLE "AgentSession" DROP CONSTRAINT IF EXISTS "AgentSession_project_id_fkey",
    ADD CONSTRAINT "AgentSession_project_id_fkey"
    FOREIGN KEY (project_id) REFERENCES "Project" (id) ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;
"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0013_resilient_clock")]
    # Backwards, they stay until 0003 drops them by the same names: the version before runs with them just as well.
    operations = [RunLocking(FOREIGN_KEYS, "SELECT")]
