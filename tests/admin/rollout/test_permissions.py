"""Who sees what of the rollout's page, and what it costs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.backfill.acceptance import accept
from agentstate.models import Flag, LeftAside, Project, ReadDifference
from tests import scenes
from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory
from tests.flags import turn
from tests.rollout.ladder import found_by_reads, stand_at

if TYPE_CHECKING:
    pass

from tests.admin.rollout.page import NASTY, PAGE, get, section, step, text_of

pytestmark = pytest.mark.django_db(transaction=True)


class TestPermissions:
    def test_an_anonymous_user_is_sent_to_the_login(self) -> None:
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

    def test_a_viewer_sees_numbers_without_details(self) -> None:
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
        assert client.post(PAGE, {"count": "standings"}).status_code == 302

    def test_toggles_need_the_permission_to_change_flags(self) -> None:
        stand_at("dual_write")
        user = User.objects.create_user("operator", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=["view_rolloutstep", "change_flag"]))
        client = Client()
        client.force_login(user)
        shown = section(get(client), "gates")

        for flag in Flag.objects.all():
            assert url_of("admin:agentstate_flag_change", args=[flag.pk]) in shown

    def test_counting_needs_the_csrf_token(self) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.create_superuser("root"))

        assert client.post(PAGE, {"count": "standings"}).status_code == 403
        assert client.put(PAGE).status_code in (403, 405)

    def test_unknown_addresses_below_the_page_are_not_found(self) -> None:
        client = superuser()

        assert client.delete(PAGE).status_code == 405
        assert client.post(PAGE, {"count": NASTY}).status_code == 302
        assert "<script>alert" not in client.post(PAGE, {"count": NASTY}).content.decode()

    def test_the_index_links_to_the_page(self) -> None:
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
    get(client)

    assert queries(client) <= few
    assert few < 65
    assert Project.objects.count() == 40
