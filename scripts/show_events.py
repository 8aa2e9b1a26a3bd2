"""Print the events of a project's newest run, by the auditing query of the migration plan."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
django.setup()

from django.db import connection  # noqa: E402 - after the settings

from agentstate.management.text import print_table  # noqa: E402
from agentstate.models import AgentWorkflowRun  # noqa: E402

QUERY = """SELECT run_id, type, created_at FROM "AgentWorkflowRunEvent" WHERE run_id = '{}' ORDER BY created_at;"""


def main() -> None:
    run = AgentWorkflowRun.objects.filter(project=sys.argv[1]).order_by("-started_at").only("id")[0]
    query = QUERY.format(run.pk)
    with connection.cursor() as cursor:
        cursor.execute(query)
        print_table(sys.stdout, query, ["run_id", "type", "created_at"], cursor.fetchall())


if __name__ == "__main__":
    main()
