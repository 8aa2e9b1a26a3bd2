"""Who is where, and how old each number is."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from agentstate.admin.project.admin import ProjectAdmin
from agentstate.lock_spaces import COUNTS
from agentstate.models import KeptVerification, UnequalProject
from agentstate.rollout import counting
from agentstate.rollout.figures import Figures
from agentstate.rollout.waiting import server_time
from tests import scenes
from tests.admin.viewers import superuser
from tests.factories import ProjectFactory, write_columns
from tests.flags import turn
from tests.rollout.ladder import stand_at
from tests.sql import second_connection

if TYPE_CHECKING:
    pass

from tests.admin.rollout.page import NASTY, PAGE, PROJECTS, get, section, standings, text_of

pytestmark = pytest.mark.django_db(transaction=True)

COUNT_LOCKS = """
    SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND locktype = 'advisory' AND classid = %s"""


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

    def test_an_unknown_standing_is_refused(self) -> None:
        assert not superuser().get(PROJECTS, {"standing": NASTY}).context["cl"].result_list


class TestNumbersThatAreKept:
    def age_of(self, response: Any, name: str) -> str:
        found = re.search(r'<time datetime="([^"]+)"', section(response, name).partition("agentstate-counted")[2])
        assert found
        return found[1]

    def test_counts_are_kept_with_their_age_until_counted_again(self) -> None:
        ProjectFactory()
        client = superuser()
        first = get(client)
        ProjectFactory()
        second = get(client)
        client.post(PAGE, {"count": "standings"})
        third = get(client)

        assert [standings(each) for each in (first, second, third)] == [{"empty": 1}, {"empty": 1}, {"empty": 2}]
        ages = [self.age_of(each, "standings") for each in (first, second, third)]
        assert ages[0] == ages[1] < ages[2]
        assert {self.age_of(third, name) for name in ("standings", "escapes")} == {ages[2]}
        assert KeptVerification.objects.get().requested_by == "root-0"

    def test_a_pass_or_a_toggle_invalidates_the_counts(self) -> None:
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

    def test_a_count_that_takes_long_goes_on_behind_the_page(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("agentstate.admin.rollout.admin.WAIT", 0.2)
        stand_at("dual_write")
        client = superuser()
        with second_connection() as other, other.transaction():
            other.execute('LOCK TABLE "AgentSession" IN ACCESS EXCLUSIVE MODE')
            shown = text_of(get(client))
            again = text_of(get(client))
        wait_for_counts()

        assert "Being counted: this is the first count on this database." in shown
        assert all(text.count("This page shows the result as soon as it is there.") == 3 for text in (shown, again))
        assert "<strong>Open</strong>" in section(get(client), "conditions")
        assert KeptVerification.objects.count() == 1

    def test_the_first_visitor_sees_what_the_command_verified(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("agentstate.admin.rollout.admin.WAIT", 0)
        for name in ("equal", "unequal"):
            ProjectFactory(id=name, documents={"facts": "1"})
        scenes.forward()
        scenes.damage("unequal", facts="2")
        stand_at("dual_write")
        with pytest.raises(SystemExit):
            call_command("verify_agentkit_state", stdout=StringIO())
        response = get()

        assert "Not open: 1 of 3 conditions not met." in text_of(response)
        assert standings(response) == {"in_sync": 1, "unequal": 1}
        assert [each.project_id for each in UnequalProject.objects.all()] == ["unequal"]

    def test_a_count_that_a_later_verification_replaced_stores_nothing(self) -> None:
        ProjectFactory(id="unequal", documents={"facts": "1"})
        scenes.forward()
        scenes.damage("unequal", facts="2")
        earlier = KeptVerification.objects.create(started_at=timezone.now(), requested_by="ada")
        figures = Figures.count()
        with pytest.raises(SystemExit):
            call_command("verify_agentkit_state", stdout=StringIO())
        counting._keep(earlier, figures)

        assert UnequalProject.objects.get().verification == KeptVerification.objects.get()

    def test_verifications_that_are_kept_at_once_do_not_get_in_each_others_way(self) -> None:
        figures = Figures.count()
        figures.verification.unequal_projects = ["p1", "p2"]

        def keep(_: int) -> None:
            with closing(connection):
                for _ in range(10):
                    counting.keep(figures, server_time())

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(keep, range(4)))

        newest = KeptVerification.objects.newest()
        assert newest
        assert newest.unequal_projects.count() == 2
        assert not UnequalProject.objects.exclude(verification__in=KeptVerification.objects.all()).exists()

    def test_while_it_goes_on_the_last_figures_stay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("agentstate.admin.rollout.admin.WAIT", 0.2)
        stand_at("agentkit_only")
        client = superuser()
        counting.count_now()
        with second_connection() as other, other.transaction():
            other.execute('LOCK TABLE "AgentSession" IN ACCESS EXCLUSIVE MODE')
            client.post(PAGE, {"count": "escapes"})
            shown = section(get(client), "conditions")
        wait_for_counts()

        assert "hours_without_escape" in shown
        assert "Counting again since" in shown

    @pytest.mark.parametrize("table", ["AgentSession", "AgentStateUnequalProject"], ids=["counted", "kept"])
    def test_a_count_that_failed_gives_its_reason_and_is_not_repeated_at_once(self, table: str) -> None:
        client = superuser()
        scenes.run_sql(f'ALTER TABLE "{table}" RENAME TO elsewhere')
        try:
            shown = text_of(get(client))
        finally:
            scenes.run_sql(f'ALTER TABLE elsewhere RENAME TO "{table}"')
        assert "failed: ProgrammingError" in shown
        get(client)
        assert KeptVerification.objects.get().error

        client.post(PAGE, {"count": "standings"})
        assert not KeptVerification.objects.get().error

    @pytest.mark.parametrize(
        ("age", "lasted", "is_due"), [(4, 0, False), (6, 0, True), (6, 1, False), (11, 1, True)], ids=str
    )
    def test_an_old_count_is_repeated_unless_it_took_long(self, age: int, lasted: int, is_due: bool) -> None:
        counting.count_now()
        start = timezone.now() - timedelta(minutes=age)
        KeptVerification.objects.update(started_at=start, ended_at=start + timedelta(minutes=lasted))

        assert counting.Counted.read().is_due is is_due

    def test_figures_of_another_version_count_as_none(self) -> None:
        counting.count_now()
        KeptVerification.objects.update(figures={"other": 1})

        counted = counting.Counted.read()
        assert (counted.kept, counted.figures, counted.is_due) == (None, None, True)

    def test_a_count_that_has_yet_to_take_its_lock_is_being_made(self) -> None:
        row = KeptVerification.objects.create(started_at=server_time(), requested_by="ada")

        counted = counting.Counted.read()
        assert (counted.running, counted.is_due) == (row, False)

    def test_a_count_is_being_made_until_its_figures_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(counting, "BEGINS_WITHIN", timedelta())
        ProjectFactory(id="unequal", documents={"facts": "1"})
        scenes.forward()
        stand_at("dual_write")
        scenes.damage("unequal", facts="2")
        seen: list[tuple[str, bool]] = []

        def look(execute: Any, sql: str, *rest: Any) -> Any:
            answer = execute(sql, *rest)
            with second_connection() as other:
                seen.append((sql, bool(other.execute(COUNT_LOCKS, [COUNTS]).rowcount)))
            return answer

        with connection.execute_wrapper(look):
            counting.count_now()

        assert any(counts and "bypassing" in sql for sql, counts in seen)
        assert any(counts and 'INSERT INTO "AgentStateUnequalProject"' in sql for sql, counts in seen)
        tables = 'FROM "Project"', 'FROM "AgentWorkflowRun"', "UnequalProject"
        assert not [sql for sql, counts in seen if not counts and any(each in sql for each in tables)]

    def test_a_count_whose_process_died_is_made_by_the_next_visitor(self) -> None:
        KeptVerification.objects.create(started_at=timezone.now() - timedelta(hours=1), requested_by="ada")
        ProjectFactory()

        assert standings(get()) == {"empty": 1}
        assert KeptVerification.objects.count() == 1


def wait_for_counts() -> None:
    for thread in threading.enumerate():
        if thread.name == "rollout count":
            thread.join(30)


class TestUnequalProjects:
    def test_they_are_no_projects_in_sync_and_are_kept_by_id(self) -> None:
        names = ["equal", "unequal"]
        for name in names:
            ProjectFactory(id=name, documents={"facts": "1"})
        scenes.forward()
        scenes.damage("unequal", facts="2")

        assert standings(get()) == {"in_sync": 1, "unequal": 1}
        newest = KeptVerification.objects.newest()
        assert newest
        assert list(newest.unequal_projects.values_list("project_id", flat=True)) == ["unequal"]

        write_columns("unequal", {"facts": "1"})
        counting.count_now()
        assert not UnequalProject.objects.exists()
