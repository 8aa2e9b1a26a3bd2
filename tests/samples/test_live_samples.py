"""Live runs of sample projects: what happens to which, and where nothing may happen."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from agentstate import sessions, state
from agentstate.models import AgentSession, AgentWorkflowRun, Flag, Project
from agentstate.samples import ProjectTableNotOurs, make_projects
from agentstate.samples.chosen import HomesNotBothWritten, ProjectsNotSamples, SamplesNotReady
from agentstate.samples.live import Scene, make_live_runs
from tests import scenes

SEED = 3


@pytest.fixture
def samples(db: None) -> None:
    """Sample projects that were backfilled, where saves go into both homes."""
    make_projects(150, SEED)
    scenes.forward()
    scenes.open_gates(agentkit_writes=True, legacy_writes=True)


def statuses_of(project: str) -> list[str]:
    runs = AgentWorkflowRun.objects.filter(project=project).exclude(workflow_id="legacy_snapshot")
    return list(runs.order_by("started_at").values_list("status", flat=True))


def live_runs() -> int:
    return AgentWorkflowRun.objects.exclude(workflow_id="legacy_snapshot").count()


@pytest.mark.usefixtures("samples")
class TestTheScene:
    def test_runs_of_every_outcome_are_there(self) -> None:
        scene = make_live_runs(SEED, pace=0)

        assert statuses_of(scene.succeeded) == ["succeeded", "succeeded"]
        assert statuses_of(scene.failed) == ["failed"]
        assert statuses_of(scene.running) == ["running"]
        assert statuses_of(scene.forked) == ["succeeded"]
        failed = AgentWorkflowRun.objects.get(project=scene.failed, status="failed")
        assert "maintenance until 06:00 UTC" in (failed.error or "")
        assert "Traceback" in (failed.error or "")

    def test_a_run_has_tools_a_conflict_and_a_fatal_item(self) -> None:
        scene = make_live_runs(SEED, pace=0)

        run = AgentWorkflowRun.objects.get(project=scene.succeeded, workflow_id="wf_normalize_rfp")
        types = [type_ for type_, _ in scenes.events_of(run.pk)]
        told = {"coverage.delta", "conflict.found", "conflict.resolved", "eligibility.flag", "run.progress"}
        assert told <= set(types)
        assert types.count("tool.invocation") == types.count("tool.result") == 5

    def test_scores_rise_from_save_to_save(self) -> None:
        scene = make_live_runs(SEED, pace=0)

        scores = [
            float(state.at(scene.succeeded, moment.at).coverage["score"]) for moment in state.history(scene.succeeded)
        ]
        assert scores == sorted(scores)
        assert scores[-1] == 0.83

    def test_one_project_is_forked_and_the_others_are_in_sync(self) -> None:
        scene = make_live_runs(SEED, pace=0)

        standings = scenes.standings()
        assert [project for project, standing in standings.items() if standing == "forked"] == [scene.forked]
        assert {standings[project] for project in (scene.succeeded, scene.failed, scene.running)} == {"in_sync"}
        homes = scenes.homes_of(scene.forked)
        assert {key for key in homes.columns if homes.columns[key] != homes.newest.state[key]} == {"coverage"}

    def test_conversations_name_their_runs(self) -> None:
        scene = make_live_runs(SEED, pace=0)

        chat = AgentSession.objects.get(project=scene.succeeded, memory_id="chat-amendment")
        assert [entry["role"] for entry in sessions.transcript(chat)] == ["user", "assistant", "user", "assistant"]
        assert chat.agent_run is not None
        assert chat.agent_run.workflow_id == "wf_normalize_rfp"

    def test_the_flags_are_unchanged(self) -> None:
        before = list(Flag.objects.order_by("name").values())

        make_live_runs(SEED, pace=0)

        after = list(Flag.objects.order_by("name").values())
        assert [{**row, "modified": None} for row in after] == [{**row, "modified": None} for row in before]

    def test_a_second_call_uses_other_projects(self) -> None:
        first, second = make_live_runs(SEED, pace=0), make_live_runs(SEED, pace=0)

        assert not set(vars(first).values()) & set(vars(second).values())


@pytest.mark.usefixtures("samples")
class TestRefusal:
    def test_a_database_with_a_foreign_project_is_refused(self) -> None:
        Project.objects.create(id="cm1fffffffffffffffffffff0", user_id="u", name="not a sample")

        with pytest.raises(ProjectsNotSamples, match="holds 1 rows that are not samples of seed 3") as refusal:
            make_live_runs(SEED, pace=0)

        assert (refusal.value.count, refusal.value.seed) == (1, SEED)
        assert live_runs() == 0

    def test_samples_of_another_seed_are_refused(self) -> None:
        with pytest.raises(ProjectsNotSamples, match="holds 150 rows that are not samples of seed 4"):
            make_live_runs(4, pace=0)

    def test_a_legacy_applications_table_is_refused(self) -> None:
        scenes.run_sql("""
            CREATE TABLE "User" (id text PRIMARY KEY);
            ALTER TABLE "Project" ADD FOREIGN KEY ("userId") REFERENCES "User" (id) NOT VALID;
        """)

        with pytest.raises(ProjectTableNotOurs):
            make_live_runs(SEED, pace=0)

    def test_saves_must_go_into_both_homes(self) -> None:
        scenes.open_gates(agentkit_writes=False)

        with pytest.raises(HomesNotBothWritten, match="agentkit_rollout advance"):
            make_live_runs(SEED, pace=0)

        assert live_runs() == 0

    def test_too_few_projects_are_in_sync(self) -> None:
        scenes.run_sql('DELETE FROM "AgentWorkflowRun"')

        with pytest.raises(SamplesNotReady, match="0 of 4 suitable projects"):
            make_live_runs(SEED, pace=0)


@pytest.mark.usefixtures("samples")
class TestMakeLiveRuns:
    def test_it_names_projects_to_open(self) -> None:
        stdout = StringIO()

        call_command("make_live_runs", f"--seed={SEED}", "--pace=0", stdout=stdout)

        lines = stdout.getvalue().splitlines()
        ids = [line.partition(":")[0] for line in lines]
        assert [statuses_of(id_) for id_ in Scene(*ids).__dict__.values()] == [
            ["succeeded", "succeeded"],
            ["failed"],
            ["running"],
            ["succeeded"],
        ]
        assert lines[-1].endswith("forked, both homes changed the same document")

    def test_a_refusal_is_one_sentence(self) -> None:
        with pytest.raises(CommandError, match="not samples of seed 9"):
            call_command("make_live_runs", "--seed=9", "--pace=0")

    @pytest.mark.parametrize("pace", ["-1", "nan", "inf"])
    def test_the_pace_must_be_a_number(self, pace: str) -> None:
        with pytest.raises(CommandError, match="is not a number from 0 on"):
            call_command("make_live_runs", f"--pace={pace}")
