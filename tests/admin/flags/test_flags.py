"""The flags in the admin: changed by those who may, shown to those who may see them, deleted by nobody."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse

from agentstate import gates, state
from agentstate.models import Flag, FlagChange
from tests.factories import ProjectFactory
from tests.flags import turn

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db

LIST = reverse("admin:agentstate_flag_changelist")
HISTORY = reverse("admin:agentstate_flagchange_changelist")
NOTHING = {"everyone": "unknown", "percent": "", "project_ids": "", "note": "", "users": "", "confirmed": "on"}


def page(flag: Flag) -> str:
    return reverse("admin:agentstate_flag_change", args=[flag.pk])


def log_in(client: Client, *permissions: str) -> User:
    user = User.objects.create(username="ada", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return user


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def save(client: Client, flag: Flag, **fields: Any) -> Any:
    """Submit the form of the flag as it is now, with these settings."""
    seen = FlagChange.objects.latest("pk").pk
    return client.post(page(flag), NOTHING | {"seen": seen} | fields)


@pytest.fixture
def editor(client: Client) -> User:
    return log_in(client, "view_flag", "change_flag", "view_flagchange")


@pytest.mark.usefixtures("editor")
def test_a_change_in_the_form_changes_the_gate_and_records_its_author(client: Client) -> None:
    flag = turn("agentkit_writes")
    assert not gates.agentkit_writes("p1")

    response = save(client, flag, percent="100", note="since Monday", reason="The tests passed.")

    assert response.status_code == 302
    assert gates.agentkit_writes("p1")
    change = FlagChange.objects.latest("pk")
    assert (change.flag, change.changed_by) == ("agentkit_writes", "ada")
    assert change.differences() == {"percent": (None, 100.0), "note": ("", "since Monday")}
    assert LogEntry.objects.get().get_change_message() == "Changed Note and Percent. The tests passed."


@pytest.mark.usefixtures("editor")
@pytest.mark.parametrize(
    ("choice", "everyone", "percent"),
    [("true", True, 20), ("false", False, 20), ("unknown", None, 20), ("projects", None, None)],
)
def test_one_control_has_off_a_share_projects_and_everyone(
    client: Client, choice: str, everyone: bool | None, percent: int | None
) -> None:
    ProjectFactory(id="p1")
    flag = turn("legacy_writes", everyone=None if everyone else True)

    save(client, flag, everyone=choice, percent="20", project_ids="p1")

    saved = Flag.objects.get(name="legacy_writes")
    assert (saved.everyone, saved.percent, saved.project_ids) == (everyone, percent, ["p1"])
    assert re.search(rf'value="{choice}"[^>]* checked', text_of(client.get(page(flag))))


@pytest.mark.usefixtures("editor")
def test_projects_are_edited_one_id_per_line(client: Client) -> None:
    for name in ("p1", "p2", "a project, with a comma"):
        ProjectFactory(id=name)
    flag = turn("agentkit_reads")

    save(client, flag, project_ids="p1\r\n\r\n  p2 \r\na project, with a comma\r\np1")

    assert Flag.objects.get(name="agentkit_reads").project_ids == ["p1", "p2", "a project, with a comma"]
    assert "p1\np2\na project, with a comma</textarea>" in text_of(client.get(page(flag)))
    save(client, flag)
    assert Flag.objects.get(name="agentkit_reads").project_ids == []


@pytest.mark.usefixtures("editor")
def test_unknown_project_ids_are_refused_unless_the_flag_already_had_them(client: Client) -> None:
    ProjectFactory(id="p1")
    flag = turn("agentkit_reads", project_ids=["gone"])

    refused = save(client, flag, project_ids="gone\np1\np2")
    assert "No project has this id: p2." in text_of(refused)
    assert Flag.objects.get(name="agentkit_reads").project_ids == ["gone"]

    save(client, flag, project_ids="gone\np1")
    assert Flag.objects.get(name="agentkit_reads").project_ids == ["gone", "p1"]


@pytest.mark.usefixtures("editor")
@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("percent", "101", "less than or equal to 100"),
        ("percent", "-1", "greater than or equal to 0"),
        ("percent", "5.55", "no more than 1 decimal place"),
        ("project_ids", "p\x001", "Null characters are not allowed"),
    ],
)
def test_invalid_flag_settings_are_refused(client: Client, field: str, value: str, error: str) -> None:
    flag = turn("agentkit_writes", percent=10)

    assert error in text_of(save(client, flag, **{field: value}))
    assert Flag.objects.get(name="agentkit_writes").percent == 10


@pytest.mark.usefixtures("editor")
def test_users_and_groups_are_offered_only_for_read_gates(client: Client) -> None:
    ben, testers = User.objects.create(username="ben"), Group.objects.create(name="testers")
    reads, writes = turn("agentkit_reads"), turn("agentkit_writes")

    save(client, reads, staff="on", users=str(ben.pk), groups=[testers.pk])
    save(client, writes, staff="on", users=str(ben.pk), groups=[testers.pk])

    change = FlagChange.objects.filter(flag="agentkit_reads").latest("pk")
    assert (change.changed_by, change.after["users"], change.after["groups"]) == ("ada", [ben.pk], [testers.pk])
    assert change.after["staff"] is True
    assert not Flag.objects.get(name="agentkit_writes").staff
    assert not Flag.objects.get(name="agentkit_writes").users.exists()
    assert 'name="staff"' in text_of(client.get(page(reads)))
    assert 'name="staff"' not in text_of(client.get(page(writes)))


@pytest.mark.usefixtures("editor")
def test_the_name_is_read_only(client: Client) -> None:
    flag = turn("agentkit_writes")

    save(client, flag, name="other")

    assert 'name="name"' not in text_of(client.get(page(flag)))
    assert Flag.objects.filter(pk=flag.pk, name="agentkit_writes").exists()


@pytest.mark.parametrize("superuser", [True, False])
def test_flags_are_neither_added_nor_deleted(client: Client, superuser: bool) -> None:
    user = log_in(client, "add_flag", "change_flag", "delete_flag", "view_flag")
    user.is_superuser = superuser
    user.save()
    flag = turn("agentkit_writes")

    assert client.get(reverse("admin:agentstate_flag_add")).status_code == 403
    for method in (client.get, client.post):
        assert method(reverse("admin:agentstate_flag_delete", args=[flag.pk])).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": [flag.pk], "post": "yes"})
    client.post(LIST, {"action": "delete_individually", "_selected_action": [flag.pk]})

    assert Flag.objects.filter(pk=flag.pk).exists()
    text = text_of(client.get(LIST)) + text_of(client.get(page(flag)))
    assert not re.search(r"deletelink|/delete/|delete_selected|flag/add/", text)


def test_a_viewer_sees_and_changes_nothing(client: Client) -> None:
    log_in(client, "view_flag")
    flag = turn("agentkit_writes", percent=12.5, project_ids=["p1", "p2"])

    text = text_of(client.get(page(flag)))
    refused = save(client, flag, percent="100")

    assert "12.5" in text
    assert "p1, p2" in text
    assert "<textarea" not in text
    assert 'name="_save"' not in text
    assert refused.status_code == 403
    assert Flag.objects.get(name="agentkit_writes").percent == 12.5


def test_staff_without_permissions_get_no_page(client: Client) -> None:
    log_in(client, "view_flagchange")
    flag = turn("agentkit_writes")

    assert [client.get(url).status_code for url in (LIST, page(flag), HISTORY)] == [403, 403, 200]


@pytest.mark.usefixtures("editor")
def test_the_list_says_what_each_flag_does(client: Client) -> None:
    Flag.objects.all().delete()
    turn("agentkit_writes", percent=12.5, project_ids=["p1", "p2"])
    turn("legacy_writes", everyone=True)
    turn("agentkit_reads", percent=100)
    turn("agentkit_shadow_reads", everyone=False, percent=5)
    turn("other")

    states = re.findall(r'field-state">(.*?)</td>', text_of(client.get(LIST)))

    assert states == [
        "100 % of the projects",
        "off for everyone",
        "12.5 % of the projects and 2 by name",
        "on for everyone",
        "off",
    ]


@pytest.mark.usefixtures("editor")
def test_a_flags_page_shows_its_latest_changes_only(client: Client) -> None:
    flag = turn("agentkit_writes")
    turn("agentkit_reads", percent=77)
    for percent in range(1, 13):
        save(client, flag, percent=str(percent))

    text = text_of(client.get(page(flag)))

    assert re.findall(r"<td>(percent: .*?)</td>", text) == [
        f"percent: {percent}.0 → {percent + 1}.0" for percent in range(11, 1, -1)
    ]
    assert text.count("<td>ada</td>") == 10
    assert f'href="{HISTORY}?flag=agentkit_writes"' in text
    assert text_of(client.get(f"{HISTORY}?flag=agentkit_writes")).count("percent: ") == 12


def test_links_need_the_permission_of_their_target(client: Client) -> None:
    log_in(client, "change_flag")
    flag = turn("agentkit_writes")

    text = text_of(client.get(page(flag)))

    assert "Latest changes" in text
    assert HISTORY not in text


@pytest.mark.usefixtures("editor")
def test_typed_text_is_escaped(client: Client) -> None:
    flag = turn("agentkit_writes", note="<script>alert(1)</script>", project_ids=["<b>"])

    for url in (LIST, page(flag), HISTORY):
        text = text_of(client.get(url))
        assert "<script>alert" not in text
        assert "<b>" not in text


@pytest.mark.usefixtures("editor")
def test_the_pages_have_no_inline_style_or_script(client: Client) -> None:
    flag = turn("agentkit_reads", percent=10)

    for url in (LIST, page(flag), HISTORY):
        text = text_of(client.get(url))
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)(?![^>]*application/json)", text)


def test_the_history_is_read_only(client: Client) -> None:
    user = log_in(client)
    user.is_superuser = True
    user.save()
    turn("agentkit_reads", percent=10)
    change = FlagChange.objects.latest("pk")
    url = reverse("admin:agentstate_flagchange_change", args=[change.pk])

    assert 'name="_save"' not in text_of(client.get(url))
    assert client.post(url, {"changed_by": "ben"}).status_code == 403
    assert client.post(reverse("admin:agentstate_flagchange_delete", args=[change.pk])).status_code == 403
    assert FlagChange.objects.get(pk=change.pk).changed_by == change.changed_by


@pytest.mark.usefixtures("editor")
@pytest.mark.parametrize("key", ["0", "nothing", "9" * 30])
def test_an_unknown_flag_is_not_found_without_an_error(client: Client, key: str) -> None:
    assert client.get(reverse("admin:agentstate_flag_change", args=[key])).status_code == 302


@pytest.mark.usefixtures("editor")
@pytest.mark.parametrize(
    ("gates_now", "name", "setting", "problem"),
    [
        ({}, "legacy_writes", "false", "are both off for all projects: saving is refused there."),
        ({}, "agentkit_reads", "true", "saves there do not reach the home that is read first."),
        (
            {"agentkit_writes": True},
            "legacy_writes",
            "false",
            "saves there are not in the home that is read.",
        ),
        (
            {"agentkit_writes": True, "agentkit_shadow_reads": True, "legacy_writes": False},
            "agentkit_reads",
            "true",
            "The rollout goes up from no stage to agentkit_only, and nothing checks the conditions.",
        ),
        (
            {"agentkit_writes": True, "agentkit_reads": True, "legacy_writes": False},
            "agentkit_shadow_reads",
            "true",
            None,
        ),
        (
            {"agentkit_writes": True, "agentkit_reads": True, "agentkit_shadow_reads": True},
            "agentkit_writes",
            "false",
            "is on and agentkit_writes is off for all projects",
        ),
    ],
)
def test_a_harmful_combination_is_saved_only_if_it_is_confirmed(
    client: Client, gates_now: dict[str, bool], name: str, setting: str, problem: str | None
) -> None:
    for gate, everyone in gates_now.items():
        turn(gate, everyone=everyone)
    flag = Flag.objects.get(name=name)

    response = save(client, flag, everyone=setting, confirmed="")

    if problem is None:
        assert response.status_code == 302
        return
    text = html.unescape(text_of(response))
    assert problem in text
    assert 'type="checkbox" name="confirmed"' in text
    assert Flag.objects.get(name=name).everyone is flag.everyone
    assert save(client, flag, everyone=setting).status_code == 302
    assert Flag.objects.get(name=name).everyone is {"true": True, "false": False}[setting]
    # What is so already needs no further confirmation.
    assert save(client, flag, everyone=setting, note="meant", confirmed="").status_code == 302


@pytest.mark.usefixtures("editor")
def test_readers_that_would_get_an_older_state_need_a_confirmation(client: Client) -> None:
    turn("agentkit_writes", everyone=True)
    flag = turn("agentkit_reads", everyone=True)
    turn("legacy_writes", everyone=False)
    project = ProjectFactory(documents={"facts": "1"}).id
    state.save(project, facts=2)
    turn("legacy_writes", everyone=True)

    text = html.unescape(text_of(save(client, flag, everyone="false", confirmed="")))

    assert f"such as {project}: readers get an older state. Run manage.py reverse_backfill_agentkit_state" in text
    assert Flag.objects.get(name="agentkit_reads").everyone is True


@pytest.mark.usefixtures("editor")
def test_a_step_up_by_hand_is_confirmed_and_one_down_is_not(client: Client) -> None:
    flag = turn("agentkit_writes")

    text = text_of(save(client, flag, everyone="true", confirmed=""))
    assert "The rollout goes up from legacy to dual_write, and nothing checks the conditions." in text

    assert save(client, flag, everyone="true").status_code == 302
    assert save(client, flag, everyone="false", confirmed="").status_code == 302

    text = text_of(save(client, flag, percent="10", confirmed=""))
    assert "The flags match no stage then, so nothing checks any conditions." in text
