"""Who is where, and how old each number is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from agentstate.admin.project.admin import ProjectAdmin
from agentstate.admin.shared import cached_counts
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

    def test_a_count_that_takes_too_long_is_skipped_and_the_page_is_shown(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cached_counts, "SECONDS_ON_VIEW", 0.2)
        stand_at("dual_write")
        client = superuser()
        with second_connection() as other, other.transaction():
            other.execute('LOCK TABLE "AgentWorkflowRun" IN ACCESS EXCLUSIVE MODE')
            response = get(client)

        shown = text_of(response)
        assert shown.count("Not counted: it took longer than 0.2 s.") == 3
        assert "Unknown: the conditions have not been counted" in shown
        assert "takes up to 60 s" in shown
        assert "<strong>Open</strong>" in section(client.post(PAGE, {"count": "conditions"}), "conditions")

    def test_the_next_step_waits_for_bypassing_writes_where_it_depends_on_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cached_counts, "SECONDS_ON_VIEW", 0.2)
        stand_at("agentkit_only")
        client = superuser()
        with second_connection() as other, other.transaction():
            other.execute('LOCK TABLE "AgentWorkflowRun" IN ACCESS EXCLUSIVE MODE')
            assert "Unknown: the conditions have not been counted" in text_of(get(client))

        shown = section(client.post(PAGE, {"count": "escapes"}), "conditions")
        assert "hours_without_escape" in shown
        assert self.age_of(get(client), "conditions") == self.age_of(get(client), "escapes")
