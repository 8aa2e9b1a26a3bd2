"""Tokens by the command."""

from __future__ import annotations

from hashlib import sha256

import pytest

from agentstate.models import ApiToken
from tests.admin.viewers import viewer
from tests.management.commands import call
from tests.sql import scalar

pytestmark = pytest.mark.django_db
TOKEN = "agentkit_token"


def test_a_new_token_is_alone_on_stdout_and_only_its_digest_is_stored() -> None:
    ended = call(TOKEN, "create", "frontend", "--scope", "write", "--scope", "read", "--scope", "read")

    token = ended.stdout.removesuffix("\n")
    assert token.startswith("agentstate_")
    assert len(token.split()) == 1
    stored = ApiToken.objects.get()
    assert (stored.digest, stored.scopes) == (sha256(token.encode()).hexdigest(), ["read", "write"])
    assert token not in scalar('SELECT t::text FROM "AgentStateApiToken" t')


def test_a_name_belongs_to_one_token_in_use() -> None:
    call(TOKEN, "create", "frontend", "--scope", "read")

    again = call(TOKEN, "create", "frontend", "--scope", "read")
    revoked = call(TOKEN, "revoke", "frontend")
    new = call(TOKEN, "create", "frontend", "--scope", "read")

    assert (again.code, again.stdout) == (1, "")
    assert "agentkit_token revoke" in again.stderr
    assert (revoked.code, revoked.stdout, new.code) == (0, "Revoked frontend.\n", 0)


def test_a_token_that_is_not_in_use_cannot_be_revoked() -> None:
    ended = call(TOKEN, "revoke", "frontend")

    assert (ended.code, ended.stdout) == (1, "")
    assert "agentkit_token list" in ended.stderr


def test_the_list_names_tokens_and_shows_none() -> None:
    token = call(TOKEN, "create", "frontend", "--scope", "read").stdout.strip()
    call(TOKEN, "revoke", "frontend")

    text, listed = call(TOKEN, "list"), call(TOKEN, "list", "--format", "json")

    [row] = listed.json["tokens"]
    assert (row["name"], row["scopes"], row["last_seen_at"]) == ("frontend", ["read"], None)
    assert row["revoked_at"] is not None
    assert "frontend" in text.stdout
    assert ApiToken.objects.get().digest not in text.stdout + listed.stdout
    assert token not in text.stdout + listed.stdout


def test_the_admin_shows_tokens_and_changes_none() -> None:
    call(TOKEN, "create", "frontend", "--scope", "read")
    token = ApiToken.objects.get()
    page = f"/admin/agentstate/apitoken/{token.pk}/change/"

    client = viewer("apitoken")

    pages = [client.get("/admin/agentstate/apitoken/"), client.get(page)]
    assert [answer.status_code for answer in pages] == [200, 200]
    assert not any(token.digest in answer.content.decode() for answer in pages)
    assert client.post(page, {"name": "other"}).status_code == 403
    assert viewer().get(page).status_code == 403


def test_the_admin_lists_tokens_by_whether_they_are_in_use() -> None:
    for name in ("frontend", "worker"):
        call(TOKEN, "create", name, "--scope", "read")
    call(TOKEN, "revoke", "worker")
    client = viewer("apitoken")

    def listed(query: str) -> list[str]:
        answer = client.get(f"/admin/agentstate/apitoken/{query}")
        return sorted(token.name for token in answer.context["cl"].result_list)

    shown = [listed(query) for query in ("", "?status=in_use", "?status=revoked", "?status=lost")]
    assert shown == [["frontend", "worker"], ["frontend"], ["worker"], ["frontend", "worker"]]
