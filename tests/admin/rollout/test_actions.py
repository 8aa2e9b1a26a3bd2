"""Steps up and down from the page: who may take them, what the page confirms, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from agentstate.models import RolloutStep, StepRequest
from agentstate.rollout import requests, waiting
from tests import scenes
from tests.admin.rollout.page import PAGE, get, text_of
from tests.admin.viewers import superuser
from tests.faults.processes import wait_until
from tests.rollout.ladder import position, saved_in_agentkit_only, stand_at, steps_taken
from tests.sql import second_connection

if TYPE_CHECKING:
    pass

ADVANCE, RETREAT = f"{PAGE}advance/", f"{PAGE}retreat/"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every process see a toggle at once, and wait for the end of steps however busy the machine is."""
    monkeypatch.setattr(waiting, "SECONDS_UNTIL_SEEN", 0)
    monkeypatch.setattr("agentstate.admin.rollout.actions.WAIT", 30)


def operator(*actions: str) -> Client:
    """Return the client of a member of staff who may view the rollout and take these steps."""
    user = User.objects.create_user(f"operator-{User.objects.count()}", is_staff=True)
    names = ["view_rolloutstep", *(f"{action}_rollout" for action in actions)]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)
    return client


def submit(client: Client, address: str, **values: Any) -> Any:
    """Submit the confirmation as the page shows it, with these values."""
    form = client.get(address).context["form"]
    shown = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    return client.post(address, {**{name: value for name, value in shown.items() if value is not None}, **values})


class TestPermissions:
    @pytest.mark.parametrize(
        ("actions", "address"),
        [((), ADVANCE), ((), RETREAT), (("retreat",), ADVANCE), (("advance", "override"), RETREAT)],
        ids=["advance-without", "retreat-without", "advance-with-retreat", "retreat-with-advance"],
    )
    def test_each_step_needs_its_own(self, actions: tuple[str, ...], address: str) -> None:
        stand_at("dual_write")
        client = operator(*actions)

        assert client.get(address).status_code == 403
        assert client.post(address, {"seen": "dual_write:0"}).status_code == 403
        assert position() == ("dual_write", 0)
        assert not StepRequest.objects.exists()

    def test_an_override_needs_its_own(self) -> None:
        stand_at("shadow_read")

        assert operator("advance").post(ADVANCE, {"seen": "shadow_read:0", "reason": "x"}).status_code == 403
        assert position() == ("shadow_read", 0)

    def test_the_page_offers_what_the_user_may_do(self) -> None:
        stand_at("dual_write")
        get(superuser())

        offers = {
            actions: [
                each for each in ("Advance…", "Override…", "Retreat…") if each in text_of(get(operator(*actions)))
            ]
            for actions in ((), ("advance",), ("retreat",), ("override",))
        }
        assert offers == {(): [], ("advance",): ["Advance…"], ("retreat",): ["Retreat…"], ("override",): []}


class TestAdvance:
    def test_a_confirmed_step_is_taken_and_recorded(self) -> None:
        stand_at("legacy")
        client = operator("advance")
        shown = text_of(client.get(ADVANCE))
        response = submit(client, ADVANCE, reason="Go.")

        assert "Every save writes both homes" in shown
        assert "agentkit_writes off on for everyone" in shown
        assert response.url == PAGE
        assert position() == ("dual_write", 0)
        request = StepRequest.objects.get()
        assert (request.outcome, request.requested_by, request.reason) == ("taken", "operator-0", "Go.")
        assert request.step == RolloutStep.objects.get(requested_by="operator-0", override="")
        assert LogEntry.objects.get().get_change_message() == "Advance from legacy. Go."
        assert "Advance from legacy, requested" in text_of(get(client))

    def test_an_override_needs_a_reason_which_the_step_keeps(self) -> None:
        stand_at("shadow_read")
        client = operator("override")
        refused = submit(client, ADVANCE)
        assert "This field is required." in text_of(refused)
        assert "Shadow reads that compared both homes: 0, needed 1,000 or more" in text_of(refused)
        assert position() == ("shadow_read", 0)

        submit(client, ADVANCE, reason="The customer waits.", percent="5")

        assert steps_taken() == [("shadow_read", 0, "agentkit_read", 5, "The customer waits.")]
        assert "Reached by override" in text_of(get(client))

    def test_a_share_that_is_not_larger_is_refused(self) -> None:
        stand_at("agentkit_read", 10)

        assert "This is not more than 10." in text_of(submit(superuser(), ADVANCE, reason="x", percent="10"))

    def test_conditions_that_stopped_being_met_meanwhile_refuse_the_step(self) -> None:
        stand_at("dual_write")
        client = operator("advance")
        get(client)
        scenes.make_project("p1", facts=1)
        scenes.forward()
        stand_at("dual_write")
        get(client)
        scenes.damage("p1", facts="2")
        submit(client, ADVANCE)

        request = StepRequest.objects.get()
        assert request.outcome == "refused"
        shown = text_of(get(client))
        assert "Not met: verification_problems" in shown
        assert "Not open: 1 of 3 conditions not met." in shown
        assert position() == ("dual_write", 0)

    def test_a_migration_takes_the_last_step(self) -> None:
        stand_at("frozen")
        response = superuser().get(ADVANCE, follow=True)

        assert "No step up can be taken here. Nothing was changed." in response.content.decode()
        assert "A migration takes this step" in text_of(response)


class TestRetreat:
    def test_it_fills_the_columns_and_goes_down(self) -> None:
        projects = saved_in_agentkit_only()
        client = operator("retreat")
        get(client)
        shown = text_of(client.get(RETREAT))
        submit(client, RETREAT, reason="Readers get errors.")

        assert "At the last count 3 projects had columns to be filled." in shown
        assert position() == ("agentkit_read", 100)
        assert {scenes.homes_of(project).columns["facts"] for project in projects} == {"2"}
        assert StepRequest.objects.get().outcome == "taken"

    def test_a_smaller_share_can_be_chosen(self) -> None:
        stand_at("agentkit_read", 50)
        submit(superuser(), RETREAT, percent="10")

        assert position() == ("agentkit_read", 10)

    def test_a_project_that_needs_a_person_refuses_it_and_is_named(self) -> None:
        stand_at("dual_write")
        scenes.make_project("p1", facts=1)
        scenes.forward()
        scenes.make_fork("p1", {"facts": 2}, {"facts": 3})
        client = superuser()
        submit(client, RETREAT)

        assert "Refused: Both homes of these projects changed the same document." in text_of(get(client))
        assert position() == ("dual_write", 0)

    def test_progress_is_shown_while_it_waits_and_a_second_one_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agentstate.admin.rollout.actions.WAIT", 0)
        saved_in_agentkit_only()
        first, second = operator("retreat"), operator("retreat", "advance", "override")
        with second_connection() as other, other.transaction():
            other.execute("SELECT 1")
            submit(first, RETREAT)
            # Not for transactions that are over in a moment, such as those of this look.
            wait_until(lambda: "older transactions to end (1)" in StepRequest.objects.get().message, 60)
            shown = text_of(get(first))
            submit(second, ADVANCE, reason="No!")
            wait_until(lambda: StepRequest.objects.order_by("-pk")[0].outcome == "refused", 60)
            after = text_of(get(second))
        wait_until(lambda: not StepRequest.objects.filter(outcome="running").exists(), 60)

        assert "Retreat from agentkit_only, requested" in shown
        for page in (shown, after):
            assert "Running. Waiting for older transactions to end (1): process" in page
            assert "etreat…" not in page
        assert [each.outcome for each in StepRequest.objects.order_by("pk")] == ["taken", "refused"]
        assert position() == ("agentkit_read", 100)


class TestRaces:
    def test_a_form_of_a_stage_that_has_passed_changes_nothing(self) -> None:
        stand_at("dual_write")
        client = operator("retreat")
        form = {"seen": client.get(RETREAT).context["form"].initial["seen"]}
        get(client)
        submit(operator("advance"), ADVANCE)
        assert position() == ("shadow_read", 0)
        response = client.post(RETREAT, form, follow=True)

        assert "The stage changed after the page was shown; it is shadow_read now." in response.content.decode()
        assert position() == ("shadow_read", 0)
        assert StepRequest.objects.count() == 1

    def test_a_form_that_is_sent_twice_takes_one_step(self) -> None:
        stand_at("shadow_read")
        client = operator("retreat")
        form = {"seen": client.get(RETREAT).context["form"].initial["seen"]}
        for _ in range(2):
            client.post(RETREAT, form)

        assert position() == ("dual_write", 0)
        assert StepRequest.objects.count() == 1

    def test_a_request_whose_process_died_is_told_and_can_be_continued(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(requests, "BEGINS_WITHIN", requests.timedelta())
        stand_at("agentkit_only")
        StepRequest.objects.create(
            action="retreat", stage="agentkit_only", percent=100, requested_by="ada", requested_at="2026-01-01T00:00Z"
        )
        client = superuser()
        newest = requests.newest_request()
        assert newest
        StepRequest.objects.filter(pk=newest.pk).update(ended_at=waiting.server_time())

        assert "Its process died. Retreat again to continue." in text_of(get(client))
        submit(client, RETREAT)
        assert position() == ("agentkit_read", 100)
