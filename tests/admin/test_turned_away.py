"""Pages that are not there, or not for this user, look like the admin's, whatever the host has for its own."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.admin.viewers import superuser, viewer

LIST = reverse("admin:agentstate_agentworkflowrun_changelist")


@pytest.fixture(autouse=True)
def host_without_error_pages(settings: object) -> None:
    settings.TEMPLATES = [{**each, "DIRS": []} for each in settings.TEMPLATES]  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_a_missing_document_and_a_forbidden_list_are_shown_in_the_admins_clothes() -> None:
    missing = superuser().get(reverse("admin:agentstate_project_conflict", args=["none"]))
    forbidden = viewer("agentsession").get(LIST)

    for response, status, title in ((missing, 404, "Not found"), (forbidden, 403, "Not permitted")):
        text = response.content.decode()
        assert response.status_code == status
        assert f"<h1>{title}</h1>" in text
        assert 'id="user-tools"' in text
    assert "There is no such project." in missing.content.decode()
