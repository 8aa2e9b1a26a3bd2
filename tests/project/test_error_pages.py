"""The site's pages for what is not there and what is not permitted look like the admin."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.admin.viewers import superuser, viewer

pytestmark = pytest.mark.django_db


def test_a_missing_page_looks_like_the_admin() -> None:
    response = superuser().get("/admin/agentstate/agentdocument/nowhere/change/")

    text = response.content.decode()
    assert response.status_code == 404
    assert "There is no such document." in text
    assert 'id="site-name"' in text


def test_an_unknown_address_is_not_found() -> None:
    response = superuser().get("/nowhere")

    assert response.status_code == 404
    assert "There is no page at this address." in response.content.decode()


def test_a_forbidden_page_names_the_user() -> None:
    response = viewer().get(reverse("admin:agentstate_agentworkflowrun_changelist"))

    text = response.content.decode()
    assert response.status_code == 403
    assert "may not see this page or do this." in text
    assert 'id="site-name"' in text
