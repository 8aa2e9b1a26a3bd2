"""Copy the rows of the tables that Prisma made and the first migration renamed, if it did.

Reversed, the copies stay in our tables until those are dropped. Applied again, it copies what is missing.
"""

from __future__ import annotations

from django.db import migrations

from agentstate.migrations._operations import RecordedMigration
from agentstate.migrations._prisma_runs import copy_rows


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0019_closed_as_stale")]
    operations = [migrations.RunPython(copy_rows, migrations.RunPython.noop)]
