"""The gates, what reads found, escapes, passes and what was left aside."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.admin.rollout import reads_plot
from agentstate.backfill.acceptance import accept
from agentstate.lock_spaces import PASSES
from agentstate.models import BackfillPass, Flag, LeftAside, ReadDifference
from tests import scenes
from tests.admin.viewers import superuser
from tests.factories import ProjectFactory, write_columns
from tests.flags import turn
from tests.rollout import ladder
from tests.rollout.ladder import found_by_reads, stand_at
from tests.sql import second_connection

if TYPE_CHECKING:
    pass

from tests.admin.rollout.page import NASTY, PAGE, PROJECTS, get, section, text_of

pytestmark = pytest.mark.django_db(transaction=True)


class TestTheGates:
    def test_each_shows_its_members_and_its_last_author(self) -> None:
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

    def test_legacy_writes_fills_from_the_last_bucket(self) -> None:
        turn("legacy_writes", percent=20)
        (gate,) = (gate for gate in get().context["gates"] if gate.name == "legacy_writes")

        assert (gate.x, gate.width) == ("80%", "20%")

    def test_a_flag_without_a_row_has_its_initial_value(self) -> None:
        Flag.objects.all().delete()
        response = get()

        assert [gate.who for gate in response.context["gates"]] == ["off", "on for everyone", "off", "off"]
        assert "Toggle" not in text_of(response)

    def test_the_history_link_shows_only_this_flags_changes(self) -> None:
        stand_at("dual_write")
        client = superuser()
        (gate,) = (gate for gate in get(client).context["gates"] if gate.name == "legacy_writes")

        listed = client.get(gate.history).context["cl"].result_list

        assert listed
        assert {change.flag for change in listed} == {"legacy_writes"}


class TestReads:
    @pytest.fixture(autouse=True)
    def one_moment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let no hour begin between what reads found and the page that shows it."""
        now = timezone.now()
        monkeypatch.setattr(ladder, "timezone", SimpleNamespace(now=lambda: now))
        monkeypatch.setattr(reads_plot, "server_time", lambda: now)

    def test_two_days_are_plotted_and_summed_up_by_reason(self) -> None:
        found_by_reads("compared", 1000, ago=0)
        found_by_reads("compared", 3000, ago=47)
        found_by_reads("compared", 7, ago=48)
        found_by_reads("difference", 4, ago=1, reason="facts")
        found_by_reads("difference", 1, ago=2, reason="facts")
        found_by_reads("difference", 6, ago=2, reason="coverage")
        found_by_reads("lag", 5, ago=3, reason="legacy_ahead")
        found_by_reads("fallback", 2, ago=3, reason="no_snapshot")
        found_by_reads("fallback", 1, ago=3, reason="given_up")
        response = get()

        rows = {row.finding: row for row in response.context["reads"].rows}
        assert {finding: (row.total, row.most) for finding, row in rows.items()} == {
            "difference": (11, 7),
            "lag": (5, 5),
            "fallback": (3, 3),
            "compared": (4000, 3000),
        }
        assert [(bar.x, bar.height) for bar in rows["compared"].bars] == [("0.156%", "40.0"), ("98.073%", "13.3")]
        sums = [(each.title, each.reason, each.count) for each in response.context["reads"].reasons]
        assert sums == [
            ("Differences", "coverage", 6),
            ("Differences", "facts", 5),
            ("Lags", "legacy_ahead", 5),
            ("Fallbacks", "no_snapshot", 2),
            ("Fallbacks", "given_up", 1),
            ("Compared", "", 4000),
        ]
        assert section(response, "reads").count("<rect") == 6
        assert f"{PROJECTS}?standing=legacy_ahead" in section(response, "reads")
        assert 'href="#agentstate-left-aside">1</a>' in section(response, "reads")

    def test_a_bar_of_one_beside_millions_is_visible(self) -> None:
        found_by_reads("compared", 10_000_000, ago=1)
        found_by_reads("compared", 1, ago=2)
        (row,) = (row for row in get().context["reads"].rows if row.finding == "compared")

        assert [bar.height for bar in row.bars] == ["2.0", "40.0"]

    def test_without_findings_the_page_says_what_would_be_listed(self) -> None:
        assert "None: no read compared both homes or fell back." in text_of(get())

    def test_the_last_differences_show_both_values(self) -> None:
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
        assert shown.count("absent") == 20


class TestEscapes:
    def test_a_bypassing_write_stays_listed_after_a_pass_takes_it_in(self) -> None:
        ProjectFactory(id="a/b", documents={"facts": "1"})
        scenes.forward()
        stand_at("dual_write")
        client = superuser()
        assert "None: every write since agentkit_writes reached its project went through agentstate" in text_of(
            get(client)
        )
        write_columns("a/b", {"facts": "2"})

        response = client.post(PAGE, {"count": "escapes"}, follow=True)
        shown = section(response, "escapes")
        assert "waits for a backfill. Run <code>manage.py backfill_agentkit_state</code>" in shown
        assert url_of("admin:agentstate_project_change", args=["a_2Fb"]) in shown
        assert ">legacy ahead<" in shown

        scenes.forward()
        shown = section(get(client), "escapes")
        assert "<strong>1</strong> since" in shown
        assert "<strong>0</strong> wait for a backfill." in shown
        assert "backfilled by a <code>legacy_snapshot</code>" in shown

    def test_only_the_newest_are_listed(self) -> None:
        for number in range(25):
            ProjectFactory(id=f"p{number}", documents={"facts": "1"})
        scenes.forward()
        stand_at("dual_write")
        for number in range(25):
            write_columns(f"p{number}", {"facts": "2"})
        response = get()

        assert len(response.context["figures"].newest_bypassing_writes) == 20
        assert "The newest 20 of 25." in text_of(response)


class TestPasses:
    def test_the_running_pass_shows_its_progress(self) -> None:
        now = timezone.now()
        running = BackfillPass.objects.create(
            direction="forward",
            requested_by="ada@app-1",
            started_at=now - timedelta(minutes=2),
            seen_at=now - timedelta(seconds=1),
            candidates=2000,
            written=480,
            merged=15,
            left_aside=5,
        )
        with second_connection() as other:
            other.execute("SELECT pg_advisory_lock(%s, %s)", (PASSES, running.pk))  # its process lives
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

    def test_before_the_first_pass_the_command_is_named(self) -> None:
        assert "manage.py backfill_agentkit_state" in section(get(), "passes")


class TestWhatWasLeftAside:
    def leave(self, *names: str) -> None:
        for name in names:
            ProjectFactory(id=name, documents={"facts": "1"})
        scenes.forward(*names)
        scenes.empty_columns(*names)
        scenes.forward(*names)

    def test_open_entries_come_first_and_decisions_are_shown(self) -> None:
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

    def test_the_number_links_to_the_open_entries(self) -> None:
        self.leave("a", "b")
        accept(LeftAside.objects.get(project_id="b"), "Not needed.", by="grace")
        client = superuser()
        response = get(client)

        assert (response.context["left_aside_open"], response.context["left_aside_accepted"]) == (1, 1)
        listed = client.get(response.context["open_left_aside_url"]).context["cl"].result_list
        assert [entry.project_id for entry in listed] == ["a"]

    def test_a_deleted_project_is_not_listed(self) -> None:
        self.leave("a")
        scenes.run_sql('DELETE FROM "Project"')

        assert "None: every pass moved all of its projects." in text_of(get())
