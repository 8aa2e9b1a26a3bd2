"""The clock's trigger survives what other tools do to "Project", and keeps clocks in the range that Python reads."""

from __future__ import annotations

from agentstate.migrations._clock import CLOCK_FUNCTIONS, POINT_TRIGGER
from agentstate.migrations._operations import RecordedMigration, RunLocking


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0012_saves")]
    # Backwards, the functions stay until 0002 drops them: the version before runs with them just as well.
    operations = [RunLocking(CLOCK_FUNCTIONS + POINT_TRIGGER, "SELECT")]
