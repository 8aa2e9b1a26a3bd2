"""The rollout's page: where it stands, what is missing, who is where, and how old each number is."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.admin import counted
from agentstate.admin.projects import ProjectAdmin
from agentstate.backfill.acceptance import accept
from agentstate.contract.columns import drop
from agentstate.models import BackfillPass, Flag, LeftAside, Project, ReadDifference, RolloutStep
from agentstate.rollout.freeze import THAW
from tests import scenes
from tests.admin.viewers import superuser, viewer
from tests.contract.scenes import columns_return, freeze_columns, projects
from tests.factories import ProjectFactory, write_columns
from tests.flags import turn
from tests.rollout.ladder import found_by_reads, let_time_pass, stand_at
from tests.rows import second_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/agentstate/rollout/"
PROJECTS = url_of("admin:agentstate_project_changelist")
STAGES = ["legacy", "dual_write", "shadow_read", "agentkit_read", "agentkit_only", "frozen", "contracted"]
NASTY = "<script>alert('a')</script>"


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    scenes.run_sql(THAW)


def get(client: Client | None = None) -> Any:
    response = (client or superuser()).get(PAGE)
    assert response.status_code == 200
    return response


def text_of(response: Any) -> str:
    """Return the content as a reader sees it."""
    main = response.content.decode().partition('id="content-main"')[2].partition("</main>")[0].partition(">")[2]
    return re.sub(r" (?=[.,:;])", "", " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).split()))


def section(response: Any, name: str) -> str:
    """Return the markup of a section."""
    found = re.search(rf'<section[^>]* id="agentstate-{name}".*?</section>', response.content.decode(), re.DOTALL)
    assert found, name
    return found[0]


def standings(response: Any) -> dict[str, int]:
    return {part.standing: part.count for part in response.context["parts"] if part.count}


def step(**values: Any) -> RolloutStep:
    now = timezone.now()
    defaults = {
        "at": now,
        "from_stage": "legacy",
        "from_percent": 0,
        "to_stage": "dual_write",
        "to_percent": 0,
        "requested_by": "ada@app-1",
        "completed_at": now,
    }
    made: RolloutStep = RolloutStep.objects.create(**{**defaults, **values})
    return made


class TestTheStage:
    @pytest.mark.parametrize("stage", STAGES[:-1])
    def test_the_ladder_says_where_we_are_and_what_comes_next(self, stage: str) -> None:
        stand_at(stage)
        response = get()

        at = STAGES.index(stage)
        assert [rung.stage for rung in response.context["ladder"]] == STAGES
        assert [rung.state for rung in response.context["ladder"]] == ["passed"] * at + ["here"] + ["ahead"] * (6 - at)
        assert f"Stage: {stage.replace('_', ' ')}" in text_of(response)
        assert f"Next step: {STAGES[at + 1].replace('_', ' ')}" in text_of(response)

    def test_a_share_of_the_projects_stands_in_its_rung(self) -> None:
        stand_at("agentkit_read", 10)
        response = get()

        assert "10 percent of the projects read from the AgentKit home" in text_of(response)
        assert "Next step: agentkit read at 50 percent" in text_of(response)
        (rung,) = (rung for rung in response.context["ladder"] if rung.state == "here")
        assert rung.shares == [("1", "passed"), ("10", "here"), ("50", "ahead"), ("100", "ahead")]

    def test_an_open_step_names_the_command_and_has_no_button(self) -> None:
        stand_at("legacy")
        shown = section(get(), "conditions")

        assert "<strong>Open</strong>: its one condition holds." in shown
        assert '<pre tabindex="0">manage.py agentkit_rollout advance</pre>' in shown
        assert "<form" not in shown

    def test_each_condition_says_in_a_word_whether_it_holds(self) -> None:
        stand_at("shadow_read")
        let_time_pass(3)
        found_by_reads("compared", 1200, ago=1)
        found_by_reads("difference", 2, ago=2, reason="facts")
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
        assert "<strong>Not open</strong>: 2 of 3 conditions are missing." in shown
        assert len(re.findall(r'data-sign="yes".*?</svg> holds', shown)) == 1
        assert len(re.findall(r'data-sign="no".*?</svg> missing', shown)) == 2
        assert '<a href="#agentstate-differences">2</a>' in shown

    def test_what_has_no_evidence_yet_says_so(self) -> None:
        Flag.objects.all().delete()
        stand_at("shadow_read")
        scenes.run_sql('DELETE FROM "AgentStateFlagChange"')

        assert section(get(), "conditions").count("no evidence yet") == 3

    def test_verification_names_what_it_found(self) -> None:
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

    def test_off_the_ladder_it_names_the_nearest_stages_and_what_leads_there(self) -> None:
        stand_at("dual_write")
        turn("agentkit_writes", everyone=False)
        turn("legacy_writes", everyone=False)
        response = get()

        assert response.context["place"] is None
        assert "Stage: none of the ladder" in text_of(response)
        assert {rung.state for rung in response.context["ladder"]} == {"ahead"}
        near = response.context["standpoint"].nearest
        assert near
        for each in near:
            for difference in each.differences:
                assert f"manage.py {difference.command}" in text_of(response)
        assert "agentkit_rollout advance" not in text_of(response)

    def test_an_override_is_shouted_with_its_reason(self) -> None:
        stand_at("dual_write")
        conditions = [
            {"name": "unapplied_migrations", "holds": False, "figure": 1, "needed": 0, "age_seconds": 0},
            {"name": "other", "holds": True, "figure": 0, "needed": 0, "age_seconds": 0},
        ]
        step(override=f"We must {NASTY}", conditions=conditions)
        response = get()

        shown = text_of(response)
        assert "Reached by override These conditions did not hold: unapplied_migrations." in shown
        assert "by ada@app-1" in shown
        assert f"We must {NASTY}" in shown
        assert "<script>alert" not in response.content.decode()

    def test_a_stage_that_was_reached_without_one_is_not(self) -> None:
        stand_at("dual_write")
        step()

        assert "override" not in text_of(get()).partition("Latest steps")[0]

    def test_a_retreat_that_was_interrupted_says_how_to_go_on(self) -> None:
        stand_at("agentkit_read")
        step(from_stage="agentkit_only", to_stage="agentkit_read", to_percent=100, completed_at=None)

        assert "has not come to its end. manage.py agentkit_rollout retreat goes on." in text_of(get())

    def test_a_freeze_says_since_when_and_by_whom(self) -> None:
        stand_at("frozen")
        response = get()

        frozen = response.context["frozen"]
        assert f"The columns refuse writes since {frozen.since}, by {frozen.by}." in text_of(response)
        assert "AGENTSTATE_CONTRACT=1 manage.py migrate agentstate_contract" in section(response, "conditions")

    def test_the_steps_that_were_taken_have_a_list_and_a_page(self) -> None:
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

    def test_the_top_of_the_ladder_says_how_they_come_back(self) -> None:
        response = get()

        assert [rung.state for rung in response.context["ladder"]] == ["passed"] * 6 + ["here"]
        assert "this is the top of the ladder" in text_of(response)
        assert "migrate agentstate_contract zero brings them back" in text_of(response)
        assert standings(response) == {"in_sync": 1, "agentkit_ahead": 1, "empty": 1}

    def test_flags_without_effect_say_so(self) -> None:
        response = get()

        assert {gate.name for gate in response.context["gates"] if not gate.has_effect} == {
            "legacy_writes",
            "agentkit_reads",
            "agentkit_shadow_reads",
        }
        assert section(response, "gates").count("no effect: the columns have been dropped") == 3

    def test_projects_are_still_found_by_their_standing(self) -> None:
        response = superuser().get(PROJECTS, {"standing": "agentkit_ahead"})

        assert len(response.context["cl"].result_list) == 1


class TestTheStandings:
    @pytest.fixture(autouse=True)
    def made(self) -> None:
        for name in ("synced-1", "synced-2", "ahead", "behind", "forked"):
            ProjectFactory(id=name, documents={"facts": "1"})
        ProjectFactory(id="nothing")
        scenes.forward()
        for name in ("ahead", "forked"):
            scenes.save(name, "facts", "2", legacy=False)
        for name in ("behind", "forked"):
            write_columns(name, {"facts": "3"})

    EXPECTED = {
        "in_sync": ["synced-1", "synced-2"],
        "agentkit_ahead": ["ahead"],
        "legacy_ahead": ["behind"],
        "forked": ["forked"],
        "empty": ["nothing"],
    }

    def test_they_are_counted_and_fill_the_bar(self) -> None:
        response = get()

        assert standings(response) == {standing: len(names) for standing, names in self.EXPECTED.items()}
        widths = [float(part.width.rstrip("%")) for part in response.context["parts"]]
        assert sum(widths) == pytest.approx(100, abs=0.01)
        assert section(response, "standings").count("<title>") == 5

    @pytest.mark.parametrize("standing", EXPECTED)
    def test_each_number_leads_to_its_projects(self, standing: str) -> None:
        client = superuser()
        (part,) = (part for part in get(client).context["parts"] if part.standing == standing)

        listed = client.get(part.address)

        assert [project.pk for project in listed.context["cl"].result_list] == self.EXPECTED[standing]

    def test_a_list_by_standing_has_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ProjectAdmin, "list_per_page", 1)
        client = superuser()
        first = client.get(PROJECTS, {"standing": "in_sync"}).context["cl"]
        second = client.get(PROJECTS + first.older_link).context["cl"]

        assert [[row.pk for row in page.result_list] for page in (first, second)] == [["synced-1"], ["synced-2"]]
        assert first.total == "1 on this page"
        assert second.older_link == ""

    def test_no_project_has_a_standing_that_there_is_not(self) -> None:
        assert not superuser().get(PROJECTS, {"standing": NASTY}).context["cl"].result_list


class TestNumbersThatAreKept:
    def age_of(self, response: Any, name: str) -> str:
        found = re.search(r'<time datetime="([^"]+)"', section(response, name).partition("agentstate-counted")[2])
        assert found
        return found[1]

    def test_they_stay_and_say_their_age_until_somebody_counts_again(self) -> None:
        ProjectFactory()
        client = superuser()
        first = get(client)
        ProjectFactory()
        second = get(client)
        third = client.post(PAGE, {"count": "standings"})

        assert [standings(each) for each in (first, second, third)] == [{"empty": 1}, {"empty": 1}, {"empty": 2}]
        ages = [self.age_of(each, "standings") for each in (first, second, third)]
        assert ages[0] == ages[1] < ages[2]
        assert self.age_of(third, "escapes") == self.age_of(first, "escapes")
        assert standings(get(client)) == {"empty": 2}

    def test_conditions_that_verification_decides_are_kept_too(self) -> None:
        stand_at("dual_write")
        client = superuser()
        assert "<strong>Open</strong>" in section(get(client), "conditions")
        project = ProjectFactory(documents={"facts": "1"})
        scenes.forward(project.id)
        kept = get(client)
        scenes.damage(project.id, facts="2")

        assert "<strong>Open</strong>" in section(get(client), "conditions")
        assert self.age_of(get(client), "conditions") == self.age_of(kept, "conditions")
        assert "<strong>Not open</strong>" in section(client.post(PAGE, {"count": "conditions"}), "conditions")

    def test_a_pass_or_a_toggle_makes_them_anew(self) -> None:
        project = ProjectFactory(documents={"facts": "1"})
        client = superuser()
        assert standings(get(client)) == {"legacy_ahead": 1}
        scenes.forward()
        assert standings(get(client)) == {"in_sync": 1}

        stand_at("dual_write")
        get(client)
        write_columns(project.id, {"facts": "2"})
        turn("agentkit_writes", everyone=True)
        assert standings(get(client)) == {"legacy_ahead": 1}

    def test_what_takes_too_long_is_not_counted_and_the_page_still_comes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(counted, "SECONDS_ON_VIEW", 0.2)
        stand_at("dual_write")
        client = superuser()
        with second_connection() as other, other.transaction():
            other.execute('LOCK TABLE "AgentWorkflowRun" IN ACCESS EXCLUSIVE MODE')
            response = get(client)

        shown = text_of(response)
        assert shown.count("Not counted: took longer than 0.2 s.") == 3
        assert "Not known whether it is open" in shown
        assert "takes up to 60 s" in shown
        assert "<strong>Open</strong>" in section(client.post(PAGE, {"count": "conditions"}), "conditions")

    def test_the_next_step_waits_for_the_escapes_where_it_hangs_on_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(counted, "SECONDS_ON_VIEW", 0.2)
        stand_at("agentkit_only")
        client = superuser()
        with second_connection() as other, other.transaction():
            other.execute('LOCK TABLE "AgentWorkflowRun" IN ACCESS EXCLUSIVE MODE')
            assert "Not known whether it is open" in text_of(get(client))

        shown = section(client.post(PAGE, {"count": "escapes"}), "conditions")
        assert "hours_without_escape" in shown
        assert self.age_of(get(client), "conditions") == self.age_of(get(client), "escapes")


class TestTheGates:
    def test_each_says_who_is_in_it_and_who_changed_it_last(self) -> None:
        stand_at("agentkit_read", 10)
        names = [f"p{number}" for number in range(8)]
        group = Group.objects.create(name="testers")
        turn("agentkit_reads", percent=2.5, project_ids=names, staff=True, groups=[group])
        response = get()

        gates = {gate.name: gate for gate in response.context["gates"]}
        assert [gates[name].who for name in ("agentkit_writes", "legacy_writes")] == ["on for everyone"] * 2
        reads = gates["agentkit_reads"]
        assert reads.who == "on for 2.5 percent of the projects, on for 8 by name"
        assert (reads.x, reads.width) == ("0%", "2.5%")
        assert (reads.named, reads.more_named) == (["p0", "p1", "p2", "p3", "p4"], 3)
        assert reads.users == ["staff", "1 group"]
        shown = section(response, "gates")
        assert url_of("admin:agentstate_project_change", args=["p0"]) in shown
        assert "and 3 more" in shown
        assert f"by <bdi>{reads.change.changed_by}</bdi>" in shown
        assert f"{url_of('admin:agentstate_flagchange_changelist')}?flag=agentkit_reads" in shown

    def test_legacy_writes_fills_from_the_other_end(self) -> None:
        turn("legacy_writes", percent=20)
        (gate,) = (gate for gate in get().context["gates"] if gate.name == "legacy_writes")

        assert (gate.x, gate.width) == ("80%", "20%")

    def test_a_flag_without_a_row_is_as_it_is_initially(self) -> None:
        Flag.objects.all().delete()
        response = get()

        assert [gate.who for gate in response.context["gates"]] == ["off", "on for everyone", "off", "off"]
        assert "Toggle" not in text_of(response)

    def test_the_history_link_finds_this_flags_changes(self) -> None:
        stand_at("dual_write")
        client = superuser()
        (gate,) = (gate for gate in get(client).context["gates"] if gate.name == "legacy_writes")

        listed = client.get(gate.history).context["cl"].result_list

        assert listed
        assert {change.flag for change in listed} == {"legacy_writes"}


class TestReads:
    def test_two_days_are_plotted_and_summed_up_by_reason(self) -> None:
        found_by_reads("compared", 1000, ago=0)
        found_by_reads("compared", 3000, ago=47)
        found_by_reads("compared", 7, ago=48)
        found_by_reads("difference", 4, ago=1, reason="facts")
        found_by_reads("difference", 1, ago=2, reason="facts")
        found_by_reads("difference", 6, ago=2, reason="coverage")
        found_by_reads("lag", 5, ago=3, reason="legacy_ahead")
        found_by_reads("fallback", 2, ago=3, reason="no_snapshot")
        response = get()

        rows = {row.finding: row for row in response.context["reads"].rows}
        assert {finding: (row.total, row.most) for finding, row in rows.items()} == {
            "difference": (11, 7),
            "lag": (5, 5),
            "fallback": (2, 2),
            "compared": (4000, 3000),
        }
        assert [(bar.x, bar.height) for bar in rows["compared"].bars] == [("0.156%", "40.0"), ("98.073%", "13.3")]
        sums = [(each.title, each.reason, each.count) for each in response.context["reads"].reasons]
        assert sums == [
            ("Differences", "coverage", 6),
            ("Differences", "facts", 5),
            ("Lags", "legacy_ahead", 5),
            ("Fallbacks", "no_snapshot", 2),
            ("Compared", "", 4000),
        ]
        assert section(response, "reads").count("<rect") == 6
        assert f"{PROJECTS}?standing=legacy_ahead" in section(response, "reads")

    def test_a_bar_of_one_beside_millions_is_seen(self) -> None:
        found_by_reads("compared", 10_000_000, ago=1)
        found_by_reads("compared", 1, ago=2)
        (row,) = (row for row in get().context["reads"].rows if row.finding == "compared")

        assert [bar.height for bar in row.bars] == ["2.0", "40.0"]

    def test_where_nothing_was_found_it_says_what_would_be(self) -> None:
        assert "Nothing: no read compared both homes or fell back." in text_of(get())

    def test_the_last_differences_are_named_with_both_values(self) -> None:
        for number in range(25):
            ReadDifference.objects.create(
                at=timezone.now(),
                project_id=f"p/{number}",
                state_key="facts",
                path=f"facts[{number}]",
                legacy=NASTY,
                agentkit=None,
            )
        response = get()

        shown = section(response, "reads")
        assert [each.path for each in response.context["differences"]] == [f"facts[{n}]" for n in range(24, 4, -1)]
        assert url_of("admin:agentstate_project_change", args=["p_2F24"]) in shown
        assert "&lt;script&gt;alert" in shown
        assert "<script>alert" not in shown
        assert shown.count("not there") == 20


class TestEscapes:
    def test_one_is_listed_until_and_after_a_pass_takes_it_in(self) -> None:
        ProjectFactory(id="a/b", documents={"facts": "1"})
        scenes.forward()
        stand_at("dual_write")
        client = superuser()
        assert "None: nobody has written columns behind agentkit_writes" in text_of(get(client))
        write_columns("a/b", {"facts": "2"})

        response = client.post(PAGE, {"count": "escapes"})
        shown = section(response, "escapes")
        assert "not taken in yet: the next forward pass does, <code>manage.py backfill_agentkit_state</code>" in shown
        assert url_of("admin:agentstate_project_change", args=["a_2Fb"]) in shown
        assert ">legacy ahead<" in shown

        scenes.forward()
        shown = section(get(client), "escapes")
        assert "<strong>1</strong> since" in shown
        assert "<strong>0</strong> not taken in yet." in shown
        assert "taken in by a <code>legacy_snapshot</code>" in shown

    def test_only_the_newest_are_listed(self) -> None:
        for number in range(25):
            ProjectFactory(id=f"p{number}", documents={"facts": "1"})
        scenes.forward()
        stand_at("dual_write")
        for number in range(25):
            write_columns(f"p{number}", {"facts": "2"})
        response = get()

        assert len(response.context["escapes"].value.newest) == 20
        assert "The newest 20 of 25." in text_of(response)


class TestPasses:
    def test_the_running_one_says_how_far_it_is(self) -> None:
        now = timezone.now()
        BackfillPass.objects.create(
            direction="forward",
            requested_by="ada@app-1",
            started_at=now - timedelta(minutes=2),
            seen_at=now - timedelta(seconds=1),
            candidates=2000,
            written=480,
            merged=15,
            left_aside=5,
        )
        shown = section(get(), "passes")

        assert "500 of 2,000, 5 of them left aside" in shown
        assert '<rect width="25.00%"' in shown
        assert "so far" in shown

    def test_the_last_ten_are_listed(self) -> None:
        for _ in range(12):
            scenes.forward()
        response = get()

        assert [row.entry.pk for row in response.context["passes"]] == [
            entry.pk for entry in BackfillPass.objects.order_by("-pk")[:10]
        ]
        assert "<svg" not in section(response, "passes")

    def test_before_the_first_it_names_the_command(self) -> None:
        assert "manage.py backfill_agentkit_state" in section(get(), "passes")


class TestWhatWasLeftAside:
    def leave(self, *names: str) -> None:
        for name in names:
            ProjectFactory(id=name, documents={"facts": "1"})
        scenes.forward(*names)
        scenes.empty_columns(*names)
        scenes.forward(*names)

    def test_what_is_open_comes_first_and_decisions_are_shown(self) -> None:
        self.leave("a", "b", "c")
        accept(LeftAside.objects.get(project_id="c"), f"Not needed {NASTY}", by="grace")
        accept(LeftAside.objects.get(project_id="b"), "Nor is this.", by="grace")
        write_columns("b", {"facts": "2"})
        response = get()

        assert [(row.entry.project_id, row.status) for row in response.context["left_aside"]] == [
            ("a", "open"),
            ("b", "outdated"),
            ("c", "accepted"),
        ]
        shown = section(response, "left-aside")
        assert "Emptied" in shown
        assert "Not needed &lt;script&gt;" in shown
        assert url_of("admin:agentstate_leftaside_change", args=[LeftAside.objects.get(project_id="a").pk]) in shown

    def test_the_number_leads_to_those_that_are_open(self) -> None:
        self.leave("a", "b")
        accept(LeftAside.objects.get(project_id="b"), "Not needed.", by="grace")
        client = superuser()
        response = get(client)

        assert (response.context["left_aside_open"], response.context["left_aside_accepted"]) == (1, 1)
        listed = client.get(response.context["open_left_aside_url"]).context["cl"].result_list
        assert [entry.project_id for entry in listed] == ["a"]

    def test_a_deleted_project_waits_for_nothing(self) -> None:
        self.leave("a")
        scenes.run_sql('DELETE FROM "Project"')

        assert "None: every pass could move all that it found." in text_of(get())


class TestPermissions:
    def test_somebody_who_is_not_logged_in_is_asked_to(self) -> None:
        for response in (Client().get(PAGE), Client().post(PAGE, {"count": "standings"})):
            assert (response.status_code, response.headers["Location"].partition("?")[0]) == (
                302,
                url_of("admin:login"),
            )

    @pytest.mark.parametrize("models", [[], ["project", "flag"]], ids=["none", "others"])
    def test_staff_without_the_permission_are_refused(self, models: list[str]) -> None:
        client = viewer(*models)

        assert client.get(PAGE).status_code == 403
        assert client.post(PAGE, {"count": "standings"}).status_code == 403

    def test_a_viewer_sees_numbers_and_nothing_that_is_behind_them(self) -> None:
        project = ProjectFactory(documents={"facts": "1"})
        scenes.forward()
        scenes.empty_columns(project.id)
        scenes.forward()
        stand_at("dual_write")
        found_by_reads("difference", 1, reason="facts")
        ReadDifference.objects.create(
            at=timezone.now(), project_id=project.id, state_key="facts", path="facts", legacy='"secret"', agentkit="1"
        )
        client = viewer("rolloutstep")
        response = get(client)

        shown = text_of(response)
        assert "secret" not in shown
        assert "All five columns became SQL NULL" not in shown
        assert "Toggle" not in shown
        assert "History" not in shown
        assert project.id in shown
        main = response.content.decode().partition('id="content-main"')[2]
        assert set(re.findall(r'href="(/[^"]*)"', main)) <= {url_of("admin:agentstate_rolloutstep_changelist")}
        assert client.post(PAGE, {"count": "standings"}).status_code == 200

    def test_toggles_are_for_those_who_may_change_flags(self) -> None:
        stand_at("dual_write")
        user = User.objects.create_user("operator", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=["view_rolloutstep", "change_flag"]))
        client = Client()
        client.force_login(user)
        shown = section(get(client), "gates")

        for flag in Flag.objects.all():
            assert url_of("admin:agentstate_flag_change", args=[flag.pk]) in shown

    def test_counting_needs_a_form_of_ours(self) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.create_superuser("root"))

        assert client.post(PAGE, {"count": "standings"}).status_code == 403
        assert client.put(PAGE).status_code in (403, 405)

    def test_nothing_else_is_at_this_address(self) -> None:
        client = superuser()

        assert client.delete(PAGE).status_code == 405
        assert client.post(PAGE, {"count": NASTY}).status_code == 200
        assert "<script>alert" not in client.post(PAGE, {"count": NASTY}).content.decode()

    def test_the_index_leads_here_in_one_click(self) -> None:
        for client in (superuser(), viewer("rolloutstep")):
            for address in (url_of("admin:index"), url_of("admin:app_list", args=["agentstate"])):
                assert f'href="{PAGE}"' in client.get(address).content.decode()


def test_the_number_of_queries_does_not_grow_with_the_rows() -> None:
    def fill(first: int, last: int) -> None:
        names = [f"p{number}" for number in range(first, last)]
        for name in names:
            ProjectFactory(id=name, documents={"facts": "1"})
            ReadDifference.objects.create(at=timezone.now(), project_id=name, state_key="facts", path="facts")
        scenes.forward(*names)
        scenes.empty_columns(*names)
        scenes.forward(*names)
        accept(LeftAside.objects.get(project_id=names[0]), "Not needed.", by="ada")
        turn("agentkit_reads", project_ids=names)
        step(override="Urgent.")

    def queries(client: Client) -> int:
        cache.clear()
        with CaptureQueriesContext(connection) as context:
            get(client)
        return len(context)

    stand_at("dual_write")
    client = superuser()
    fill(0, 2)
    get(client)
    few = queries(client)
    fill(2, 40)

    assert queries(client) <= few
    assert few < 60
    assert Project.objects.count() == 40
