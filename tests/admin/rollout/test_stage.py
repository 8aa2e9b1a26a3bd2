"""Where the rollout stands, and what is missing for the next step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.contract.columns import drop
from agentstate.models import Flag
from tests import scenes
from tests.admin.viewers import superuser
from tests.contract.scenes import columns_return, freeze_columns, projects
from tests.factories import ProjectFactory
from tests.flags import turn
from tests.rollout.ladder import found_by_reads, let_time_pass, stand_at

if TYPE_CHECKING:
    from collections.abc import Iterator

from tests.admin.rollout.page import NASTY, PAGE, PROJECTS, STAGES, get, section, standings, step, text_of

pytestmark = pytest.mark.django_db(transaction=True)


class TestTheStage:
    @pytest.mark.parametrize("stage", STAGES[:-1])
    def test_the_ladder_shows_the_stage_and_the_next_step(self, stage: str) -> None:
        stand_at(stage)
        response = get()

        at = STAGES.index(stage)
        assert [rung.stage for rung in response.context["ladder"]] == STAGES
        assert [rung.state for rung in response.context["ladder"]] == ["passed"] * at + ["here"] + ["ahead"] * (6 - at)
        assert f"Stage: {stage.replace('_', ' ')}" in text_of(response)
        assert f"Next step: {STAGES[at + 1].replace('_', ' ')}" in text_of(response)

    def test_closed_write_gates_are_a_banner(self) -> None:
        assert "Saves are refused" not in text_of(get())
        turn("legacy_writes", everyone=False)
        assert "Saves are refused" in text_of(response := get())
        assert "are both off for all projects: saving is refused there." in text_of(response)

    def test_a_share_of_the_projects_is_shown_in_its_rung(self) -> None:
        stand_at("agentkit_read", 10)
        response = get()

        assert "10 percent of the projects read from the AgentKit home" in text_of(response)
        assert "Next step: agentkit read at 50 percent" in text_of(response)
        (rung,) = (rung for rung in response.context["ladder"] if rung.state == "here")
        assert rung.shares == [("1", "passed"), ("10", "here"), ("50", "ahead"), ("100", "ahead")]

    def test_an_open_step_has_a_button_and_names_the_command(self) -> None:
        stand_at("legacy")
        shown = section(get(), "conditions")

        assert "<strong>Open</strong>: its one condition is met." in shown
        assert "<code>manage.py agentkit_rollout advance</code>" in shown
        assert f'<a class="button" href="{PAGE}advance/">Advance…</a>' in shown

    def test_each_condition_is_met_or_not_met(self) -> None:
        stand_at("shadow_read")
        let_time_pass(3)
        now = timezone.now()
        found_by_reads("compared", 1200, ago=1, now=now)
        found_by_reads("difference", 2, ago=2, reason="facts", now=now)
        response = get()

        rows = {row.name: row for row in response.context["conditions"]}
        assert (rows["shadow_reads_compared"].holds, rows["shadow_reads_compared"].figure) == (True, "1,200")
        assert (rows["differences"].holds, rows["differences"].figure, rows["differences"].needed) == (
            False,
            "2",
            "none",
        )
        assert rows["hours_without_difference"].needed == "24 h"
        shown = " ".join(section(response, "conditions").split())
        assert "<strong>Not open</strong>: 2 of 3 conditions not met." in shown
        assert len(re.findall(r'data-sign="yes".*?</svg> met', shown)) == 1
        assert len(re.findall(r'data-sign="no".*?</svg> not met', shown)) == 2
        assert '<a href="#agentstate-differences">2</a>' in shown
        assert "the hour of the newest difference ended</span>" in shown
        since = [row.since for row in rows.values()]
        assert since[0] > since[1], "the newest difference is younger than the stage"

    def test_a_condition_without_evidence_says_so(self) -> None:
        Flag.objects.all().delete()
        stand_at("shadow_read")
        scenes.run_sql('DELETE FROM "AgentStateFlagChange"')

        assert section(get(), "conditions").count("no evidence yet") == 3

    def test_verification_names_its_findings(self) -> None:
        ProjectFactory(id="p", documents={"facts": "1"})
        ProjectFactory(id="unequal/1", documents={"facts": "1"})
        scenes.forward()
        scenes.damage("unequal/1", facts="2")
        stand_at("dual_write")
        response = get()

        shown = section(response, "conditions")
        assert "1 unequal" in shown
        assert url_of("admin:agentstate_project_change", args=["unequal_2F1"]) in shown
        assert '<a href="#agentstate-problems">1</a>' in shown

    def test_off_the_ladder_the_nearest_stages_and_their_commands_are_named(self) -> None:
        stand_at("dual_write")
        turn("agentkit_writes", everyone=False)
        turn("legacy_writes", everyone=False)
        response = get()

        assert response.context["position"] is None
        assert "Stage: off the ladder" in text_of(response)
        assert {rung.state for rung in response.context["ladder"]} == {"ahead"}
        near = response.context["rollout_state"].nearest
        assert near
        for each in near:
            for difference in each.differences:
                assert f"manage.py {difference.command}" in text_of(response)
        assert "agentkit_rollout advance" not in text_of(response)

    def test_an_override_is_shown_with_its_reason(self) -> None:
        stand_at("dual_write")
        conditions = [
            {"name": "unapplied_migrations", "holds": False, "figure": 1, "needed": 0, "age_seconds": 0},
            {"name": "other", "holds": True, "figure": 0, "needed": 0, "age_seconds": 0},
        ]
        step(override=f"We must {NASTY}", conditions=conditions)
        response = get()

        shown = text_of(response)
        assert "Reached by override Conditions that were not met: unapplied_migrations." in shown
        assert "by ada@app-1" in shown
        assert f"We must {NASTY}" in shown
        assert "<script>alert" not in response.content.decode()

    def test_a_stage_reached_without_an_override_shows_none(self) -> None:
        stand_at("dual_write")
        step()

        assert "override" not in text_of(get()).partition("Latest steps")[0]

    def test_an_interrupted_retreat_names_the_command_that_resumes_it(self) -> None:
        stand_at("agentkit_read")
        step(from_stage="agentkit_only", to_stage="agentkit_read", to_percent=100, completed_at=None)

        assert "is unfinished. Continue it, or run manage.py agentkit_rollout retreat." in text_of(get())

    def test_a_freeze_shows_its_start_and_its_author(self) -> None:
        stand_at("frozen")
        response = get()

        frozen = response.context["frozen"]
        assert f"Frozen since {frozen.since} by {frozen.by}: the columns refuse writes." in text_of(response)
        assert "AGENTSTATE_CONTRACT=1 manage.py migrate agentstate_contract" in section(response, "conditions")

    def test_past_steps_have_a_list_and_a_page(self) -> None:
        stand_at("dual_write")
        conditions = [{"name": "differences", "holds": False, "figure": 2, "needed": 0, "age_seconds": 7}]
        taken = step(override="It is urgent.", conditions=conditions)
        client = superuser()

        assert "legacy → dual_write" in text_of(get(client))
        listed = client.get(url_of("admin:agentstate_rolloutstep_changelist")).content.decode()
        assert "legacy → dual_write" in listed
        assert "It is urgent." in listed
        shown = client.get(url_of("admin:agentstate_rolloutstep_change", args=[taken.pk])).content.decode()
        assert "<code>differences</code>, found 2, needed 0" in shown


class TestWithoutTheColumns:
    @pytest.fixture(autouse=True)
    def dropped(self) -> Iterator[None]:
        with columns_return():
            projects()
            freeze_columns()
            drop()
            yield

    def test_the_top_of_the_ladder_names_the_command_that_restores_the_columns(self) -> None:
        response = get()

        assert [rung.state for rung in response.context["ladder"]] == ["passed"] * 6 + ["here"]
        assert "This is the last stage." in text_of(response)
        assert "migrate agentstate_contract zero to restore them" in text_of(response)
        assert standings(response) == {"in_sync": 1, "agentkit_ahead": 1, "empty": 1}

    def test_flags_without_effect_say_so(self) -> None:
        response = get()

        assert {gate.name for gate in response.context["gates"] if not gate.has_effect} == {
            "legacy_writes",
            "agentkit_reads",
            "agentkit_shadow_reads",
        }
        assert section(response, "gates").count("no effect: the columns are dropped") == 3

    def test_projects_are_still_found_by_their_standing(self) -> None:
        response = superuser().get(PROJECTS, {"standing": "agentkit_ahead"})

        assert len(response.context["cl"].result_list) == 1
