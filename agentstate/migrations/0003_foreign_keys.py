"""Add foreign keys to "Project", without validation and so in an instant. None makes a DELETE of a project fail."""

from __future__ import annotations

from agentstate.migrations._operations import RecordedMigration, RunLocking

FOREIGN_KEYS = """
ALTER TABLE "AgentWorkflowRun" ADD CONSTRAINT "AgentWorkflowRun_project_id_fkey"
    FOREIGN KEY (project_id) REFERENCES "Project" (id) ON DELETE SET NULL NOT VALID;
ALTER TABLE "AgentSession" ADD CONSTRAINT "AgentSession_project_id_fkey"
    FOREIGN KEY (project_id) REFERENCES "Project" (id) ON DELETE CASCADE NOT VALID;
"""

NO_FOREIGN_KEYS = """
ALTER TABLE IF EXISTS "AgentSession" DROP CONSTRAINT IF EXISTS "AgentSession_project_id_fkey";
ALTER TABLE IF EXISTS "AgentWorkflowRun" DROP CONSTRAINT IF EXISTS "AgentWorkflowRun_project_id_fkey";
"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0002_state_clock")]
    operations = [RunLocking(FOREIGN_KEYS, NO_FOREIGN_KEYS)]
