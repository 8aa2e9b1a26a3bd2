"""What users do with a database, in one process: prints facts that no setting of the server may change."""

from __future__ import annotations

import io
import json
import re

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.urls import reverse as url_of

from agentstate import sessions, state
from agentstate.models import Project
from agentstate.recording import record

# Of everything that differs from one run to the next.
_VARIES = re.compile(
    r"(?<=\bdisk)[: ][^;]*|(?<=; time)[: ].*"
    r"|\d+\.\d s|[\d,]+/s|\d{4}-\d{2}-\d{2}[T ][\d:.]+(?:\+00(?::00)?| UTC)?|\b\d+ [sdh]\b|now\b"
)


def tour() -> None:
    """Go through the product once."""
    run("seed_legacy_projects", "--count", "40", "--seed", "1")
    run("backfill_agentkit_state", "--dry-run")
    run("backfill_agentkit_state", "--workers", "2")
    run("verify_agentkit_state", "--format", "json")
    run("agentkit_rollout", "advance")
    project = Project.objects.order_by("pk")[0].pk
    with record("tour", project, input={"when": "now"}) as recorder:
        recorder.event("tour.began", {"text": "a \\ backslash, a 'quote' and a \"quote\""})
        recorder.events([("tour.went_on", {"number": number}) for number in range(3)])
        with recorder.tool("look", {"at": ["this", None]}) as call:
            call.output = 0.1
        recorder.heartbeat()
        recorder.save(coverage={"score": 0.5}, facts=state.ABSENT, eligibility=None)
        recorder.set_output({"done": True})
    session = sessions.open_for(project, memory_id="tour", run=recorder.run_id)
    sessions.append(session, "user", "Où est\\là?")
    say(entries=[entry["content"] for entry in sessions.transcript(session)])
    loaded = state.load(project)
    say(coverage=loaded.coverage, facts=str(loaded.facts), eligibility=loaded.eligibility, standing=loaded.standing)
    moments = state.history(project)
    say(
        moments=[moment.workflow_id for moment in moments],
        before=state.at(project, moments[0].at).facts != state.ABSENT,
    )
    run("agentkit_rollout", "--format", "json", keys=("stage", "next"))
    run("agentkit_rollout", "retreat")
    run("close_stale_runs", "--older-than", "1h")
    run("reverse_backfill_agentkit_state")
    run("backfill_agentkit_state")
    run("verify_agentkit_state")
    run("check", "--database", "default")
    pages(project, recorder.run_id, session.pk)


def pages(project: str, run_id: str, session_id: str) -> None:
    """Open the admin's pages."""
    user = get_user_model().objects.create_superuser("tour")
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    for page, arguments in (
        *((f"{name}_changelist", ()) for name in ("project", "agentworkflowrun", "agentsession", "backfillpass")),
        *((f"{name}_changelist", ()) for name in ("leftaside", "flag", "flagchange", "rollout", "rolloutstep")),
        ("project_change", (project,)),
        ("agentworkflowrun_change", (run_id,)),
        ("agentsession_change", (session_id,)),
    ):
        say(**{page: client.get(url_of(f"admin:agentstate_{page}", args=arguments)).status_code})


def run(command: str, *arguments: str, keys: tuple[str, ...] = ()) -> None:
    """Run a command, and print what it printed but for what varies."""
    stdout = io.StringIO()
    call_command(command, *arguments, stdout=stdout, stderr=stdout)
    output = stdout.getvalue()
    if keys:
        output = json.dumps({key: json.loads(output).get(key) for key in keys})
    say(command=[command, *arguments], output=_VARIES.sub("…", output).splitlines())


def say(**facts: object) -> None:
    print(json.dumps(facts, default=str))  # noqa: T201
