"""Live runs of sample projects: runs of every outcome, conversations, and a project that forks.

Everything is written through the public interface, as an application does, except for the one bypassing write.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.utils import timezone

from agentstate import gates, sessions, state
from agentstate.models import AgentWorkflowRun, Flag
from agentstate.models.fields import new_id
from agentstate.recording import Recorder, record
from agentstate.samples.chosen import choose_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

ANOTHER_NOTICE = {"source_upload_id": "upl_amendment_2", "version": "v3", "release_date": "2026-02-14"}
FIRST_NOTICE = {"source_upload_id": "upl_notice", "version": "v2", "release_date": "2025-12-01"}
CONFLICT = {"type": "section_conflict", "key": "budget", "previous": FIRST_NOTICE, "next": ANOTHER_NOTICE}
FATAL = {"id": "elig_nonprofit", "text": "Must be a 501(c)(3) at the time of submission", "fatal": True}

BYPASSING_WRITE = """
    UPDATE "Project" SET "coverageJson" = jsonb_set("coverageJson", '{requirements,0,status}', '"missing"')
        || '{"score": 0.31}' WHERE id = %s"""


class FunderPortalDown(Exception):
    """The portal of the sample story does not answer."""


@dataclass(frozen=True)
class Scene:
    """The projects of the sample story, by the outcome of their runs."""

    succeeded: str
    failed: str
    running: str
    forked: str


def make_live_runs(seed: int, pace: float = 1.0) -> Scene:
    """Record runs of four sample projects, and return these projects.

    Args:
        seed: the random seed that the samples were made with.
        pace: multiplier for simulated tool durations; 0 disables delays.

    Raises:
        SamplesRefused: the database does not hold such samples only, or saves are not written to both homes.
    """
    scene = Scene(*choose_samples(4, seed))
    _succeed(scene.succeeded, pace)
    _review(scene.succeeded, pace)
    _fail(scene.failed, pace)
    _fork(scene.forked)
    _run_on(scene.running)
    return scene


def _succeed(project_id: str, pace: float) -> None:
    """Record a run with calls, progress, a conflict that is found and resolved, and a fatal eligibility item."""
    now = state.load(project_id)
    with record("wf_normalize_rfp", project_id, input={"upload_id": "upl_amendment_2", "pages": 46}) as run:
        chat = sessions.open_for(project_id, memory_id="chat-amendment", run=run.run_id)
        sessions.append(chat, "user", "The funder has sent a second amendment. What does it change for us?")
        with run.tool("read_upload", {"upload_id": "upl_amendment_2"}) as call:
            time.sleep(0.4 * pace)
            call.output = {"pages": 46, "sections": 12}
        run.event("run.progress", {"step": "reading", "percent": 35})
        with run.tool("compare_versions", {"key": "budget", "versions": ["v2", "v3"]}) as call:
            time.sleep(0.25 * pace)
            call.output = {"differs": True, "changed": ["cost sharing: 10 % → 25 %"]}
        run.save(conflict_log=[*now.conflict_log, CONFLICT])
        with suppress(FunderPortalDown), run.tool("fetch_faq", {"url": "https://grants.example/faq"}):
            time.sleep(0.15 * pace)
            raise FunderPortalDown("grants.example did not answer: 503 Service Unavailable")
        with run.tool("normalize_rfp", {"keep": "latest"}) as call:
            time.sleep(0.6 * pace)
            call.output = {"sections": 12, "kept": "v3"}
        run.save(conflict_log=[*now.conflict_log, {**CONFLICT, "resolved": "latest"}])
        run.event("run.progress", {"step": "scoring", "percent": 80})
        with run.tool("score_coverage", {"requirements": len(now.coverage["requirements"])}) as call:
            time.sleep(0.2 * pace)
            call.output = {"score": 0.61}
        run.save(coverage=_scored(now.coverage, "0.61", drafted=2))
        run.save(eligibility=_with_fatal(now.eligibility))
        run.set_output({"sections": 12, "conflicts_resolved": 1, "coverage": 0.61})
        sessions.append(
            chat,
            "assistant",
            "Cost sharing rises from 10 % to 25 %, so I kept the amended budget section. Coverage is 0.61 now. "
            "One thing could stop us: the applicant must be a 501(c)(3) when we submit.",
        )
        sessions.append(chat, "user", "We are one since 2011. Please draft the two sections that are still open.")


def _review(project_id: str, pace: float) -> None:
    """Record a second run of the same project, which saves twice."""
    coverage = state.load(project_id).coverage
    with record("wf_draft_sections", project_id, input={"sections": ["need", "evaluation"]}) as run:
        chat = sessions.open_for(project_id, memory_id="chat-amendment")  # it keeps the run that opened it
        for score, section, drafted in (("0.72", "need", 3), ("0.83", "evaluation", 4)):
            with run.tool("draft_section", {"key": section}) as call:
                time.sleep(0.3 * pace)
                call.output = {"words": 640}
            run.event("draft.progress", {"section": section, "words": 640})
            run.save(coverage=_scored(coverage, score, drafted=drafted))
        run.set_output({"drafted": 2})
        sessions.append(chat, "assistant", "Both drafts are there, 640 words each. Coverage is 0.83 now.")


def _fail(project_id: str, pace: float) -> None:
    """Record a run that fails with an error."""
    with suppress(FunderPortalDown), record("wf_collect_evidence", project_id, input={"attempts": 3}) as run:
        chat = sessions.open_for(project_id, memory_id="chat-evidence", run=run.run_id)
        sessions.append(chat, "user", "Collect the letters of support from the funder's portal, please.")
        for attempt in (1, 2):
            with suppress(FunderPortalDown):
                _download_letters(run, attempt, pace)
            run.event("run.progress", {"step": "waiting before the next attempt", "attempt": attempt})
        _download_letters(run, 3, pace)


def _download_letters(run: Recorder, attempt: int, pace: float) -> None:
    with run.tool("download_letters", {"attempt": attempt}):
        time.sleep(0.2 * pace)
        raise FunderPortalDown("The portal closed the connection: maintenance until 06:00 UTC")


def _fork(project_id: str) -> None:
    """Save a document to the AgentKit home alone, then change the same document's column."""
    coverage = state.load(project_id).coverage
    with record("wf_score_coverage", project_id) as run, _legacy_home_closed():
        run.save(coverage=_scored(coverage, "0.67", drafted=2))
    with connection.cursor() as cursor:
        cursor.execute(BYPASSING_WRITE, [project_id])


@contextmanager
def _legacy_home_closed() -> Iterator[None]:
    """Close legacy_writes inside one transaction, which no other session sees."""
    with transaction.atomic():
        flag = Flag.objects.select_for_update().get(name=gates.LEGACY_WRITES.name)
        before, flag.everyone = flag.everyone, False
        flag.save()
        yield
        flag.everyone = before
        flag.save()


def _run_on(project_id: str) -> None:
    """Record a run that is still running: one of its calls has no result yet."""
    run = AgentWorkflowRun(
        workflow_id="wf_draft_sections",
        project_id=project_id,
        status=AgentWorkflowRun.Status.PENDING,
        input={"sections": ["need", "work plan"]},
        started_at=timezone.now(),
    )
    run.save(force_insert=True)
    run.start()
    recorder = Recorder(run)
    chat = sessions.open_for(project_id, memory_id="chat-draft", run=run.pk)
    sessions.append(chat, "user", "Draft the need section and the work plan.")
    with recorder.tool("read_facts") as call:
        call.output = {"facts": 14}
    recorder.event("draft.progress", {"section": "need", "words": 210})
    recorder.event(
        "tool.invocation", {"call_id": new_id(), "tool": "draft_section", "arguments": {"key": "work plan"}}
    )
    recorder.heartbeat()


def _scored(coverage: Any, score: str, *, drafted: int) -> Any:
    """Return a coverage with this score, and its first requirements drafted."""
    requirements = [
        {**{name: value for name, value in each.items() if name != "need_from_user"}, "status": "drafted"}
        if place < drafted
        else each
        for place, each in enumerate(coverage["requirements"])
    ]
    return {**coverage, "score": Decimal(score), "requirements": requirements}


def _with_fatal(eligibility: Any) -> Any:
    return {**eligibility, "items": [*eligibility["items"], FATAL]}
