"""Give our id columns the collation of "Project"."id".

PostgreSQL cannot use an index whose collation differs from the one in the query, so that each look-up of a project's
runs would read them all. Where the collations are equal already, nothing is locked and nothing changes. Where they
differ, the indexes of our tables are rebuilt.
"""

from __future__ import annotations

from agentstate.migrations._collation import match_collation
from agentstate.migrations._operations import RecordedMigration, RunLocking

MATCH_COLLATION = match_collation(
    ("AgentWorkflowRun", "id"),
    ("AgentWorkflowRun", "project_id"),
    ("AgentWorkflowRunEvent", "id"),
    ("AgentWorkflowRunEvent", "run_id"),
    ("AgentSession", "id"),
    ("AgentSession", "project_id"),
    ("AgentSession", "agent_run_id"),
    ("AgentStateLeftAside", "project_id"),
    ("AgentStateReadDifference", "project_id"),
)


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0015_validate_following_foreign_keys")]
    # Backwards, the collation stays: the version before runs with it, and faster.
    operations = [RunLocking(MATCH_COLLATION, "SELECT")]
