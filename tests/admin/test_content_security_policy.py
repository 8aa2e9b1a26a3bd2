"""Every page carries the policy: no script and no style but ours."""

from __future__ import annotations

import pytest
from django.test import Client


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/admin/login/", "/admin/", "/nowhere/"])
def test_nothing_inline_runs(address: str) -> None:
    policy = dict(
        directive.split(" ", 1) for directive in Client().get(address).headers["Content-Security-Policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
