"""The page of what was left aside: looked at by viewers, decided about by those who may change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse as url_of

from agentstate.backfill.acceptance import accept
from agentstate.backfill.given_up import given_up
from agentstate.lock_spaces import DIRECTIONS
from agentstate.models import BackfillPass, LeftAside
from tests import scenes
from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory, write_columns
from tests.sql import second_connection

if TYPE_CHECKING:
    from django.http import HttpResponse

pytestmark = pytest.mark.django_db(transaction=True)

NOTE = "Nobody needs this one."
NASTY = "<script>alert('a/b')</script>"


@pytest.fixture
def entry() -> LeftAside:
    """A project whose columns became SQL NULL, with an id that is to be text."""
    project = ProjectFactory(id=NASTY, documents={"facts": "[1]"})
    scenes.forward()
    scenes.empty_columns(project.id)
    scenes.forward()
    return LeftAside.objects.get()


def page(entry: LeftAside, action: str = "change") -> str:
    return url_of(f"admin:agentstate_leftaside_{action}", args=[entry.pk])


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def post_acceptance(client: Client, entry: LeftAside, note: str = NOTE, version: str | None = None) -> HttpResponse:
    """Send the form as the page has it, unless another version is given."""
    version = given_up(entry).version if version is None else version
    seen = len(LeftAside.objects.get(pk=entry.pk).decisions)
    return client.post(page(entry, "accept"), {"note": note, "version": version, "seen": seen}, follow=True)


def decider() -> Client:
    """Return the client of a member of staff who may change entries, and nothing else."""
    user = User.objects.create_user("grace", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="change_leftaside"))
    client = Client()
    client.force_login(user)
    return client


class TestThePage:
    def test_it_shows_the_error_and_what_accepting_gives_up(self, entry: LeftAside) -> None:
        shown = text_of(superuser().get(page(entry)))
        assert "All five columns became SQL NULL" in shown
        assert "is not taken into the history." in shown
        assert "Given up by accepting" in shown
        assert 'data-status="open"' in shown
        assert "<script>alert" not in shown

    def test_it_shows_all_decisions_newest_first(self, entry: LeftAside) -> None:
        accept(entry, f"{NASTY} is not needed", by="ada")
        entry.reopen("A retry failed.", "grace")
        accept(entry, "Really not.", by="linus")
        shown = text_of(superuser().get(page(entry)))
        assert 'data-status="accepted"' in shown
        assert shown.index("Really not.") < shown.index("A retry failed.") < shown.index("is not needed")
        assert all(f"<bdi>{name}</bdi>" in shown for name in ("ada", "grace", "linus"))
        assert "<script>alert" not in shown

    def test_an_acceptance_that_is_outdated_says_so(self, entry: LeftAside) -> None:
        accept(entry, NOTE)
        write_columns(NASTY, {"facts": "[2]"})
        shown = text_of(superuser().get(page(entry)))
        assert 'data-status="outdated"' in shown
        assert "has changed since" in shown

    def test_a_closed_entry_offers_no_decision(self, entry: LeftAside) -> None:
        LeftAside.objects.close()
        client = superuser()
        shown = text_of(client.get(page(entry)))
        assert 'data-status="closed"' in shown
        assert "csrfmiddlewaretoken" not in shown.partition('id="content-main"')[2]
        response = client.get(page(entry, "accept"), follow=True)
        assert messages_of(response) == ["This entry is closed. Nothing is left to accept."]

    def test_an_unknown_entry_is_not_found(self, entry: LeftAside) -> None:
        client = superuser()
        for number in ("0", "999999999999999999999999", "x"):
            gone = client.get(url_of("admin:agentstate_leftaside_change", args=[number]))
            assert (gone.status_code, gone.headers["Location"]) == (302, url_of("admin:index"))
            for action in ("retry", "accept"):
                assert client.post(url_of(f"admin:agentstate_leftaside_{action}", args=[number])).status_code == 404

    def test_the_list_says_what_is_accepted(self, entry: LeftAside) -> None:
        accept(entry, NOTE)
        address = url_of("admin:agentstate_leftaside_changelist")
        client = superuser()
        assert ">accepted<" in text_of(client.get(address, {"accepted_at__isempty": "0"}))
        assert ">accepted<" not in text_of(client.get(address, {"accepted_at__isempty": "1"}))


class TestAccepting:
    def test_the_acceptance_is_stored_with_its_note_and_author(self, entry: LeftAside) -> None:
        response = post_acceptance(decider(), entry)
        assert response.redirect_chain == [(page(entry), 302)]
        assert messages_of(response) == ["Accepted. The content below is given up."]
        entry.refresh_from_db()
        assert (entry.status, entry.note, entry.decided_by) == ("accepted", NOTE, "grace")
        assert "Given up" in text_of(response)

    def test_the_confirmation_shows_what_is_given_up(self, entry: LeftAside) -> None:
        shown = text_of(superuser().get(page(entry, "accept")))
        assert "is not taken into the history." in shown
        assert "csrfmiddlewaretoken" in shown
        assert given_up(entry).version in shown
        assert LeftAside.objects.open().count() == 1

    @pytest.mark.parametrize("note", ["", "   ", "ab", "no\0te"])
    def test_a_note_is_required(self, entry: LeftAside, note: str) -> None:
        shown = text_of(post_acceptance(superuser(), entry, note))
        assert "errorlist" in shown
        assert LeftAside.objects.open().count() == 1

    def test_an_entry_that_changed_since_the_page_was_shown_is_not_accepted(self, entry: LeftAside) -> None:
        seen = given_up(entry).version
        write_columns(NASTY, {"facts": "[2]"})
        for version in (seen, ""):
            shown = text_of(post_acceptance(superuser(), entry, version=version))
            assert "has changed meanwhile. Check again what is given up." in shown
            assert NOTE in shown
            assert given_up(entry).version in shown
        assert LeftAside.objects.open().count() == 1

    def test_a_project_that_was_fixed_since_is_not_accepted(self, entry: LeftAside) -> None:
        scenes.run_sql('DELETE FROM "Project"')
        client = superuser()
        assert "with a note" not in text_of(client.get(page(entry)))
        assert "a retry closes the entry" in text_of(post_acceptance(client, entry))


class TestRetrying:
    def test_a_project_that_can_be_moved_now_closes_its_entry(self, entry: LeftAside) -> None:
        write_columns(NASTY, {"facts": "[2]"})
        response = decider().post(page(entry, "retry"), follow=True)
        assert response.redirect_chain == [(page(entry), 302)]
        assert messages_of(response) == ["Closed: the project was moved, or nothing was left to move."]
        entry.refresh_from_db()
        assert entry.status == "closed"
        assert BackfillPass.objects.latest("pk").requested_by == "grace"

    def test_a_project_that_fails_again_keeps_its_entry_open(self, entry: LeftAside) -> None:
        accept(entry, NOTE, by="ada")
        response = decider().post(page(entry, "retry"), follow=True)
        assert messages_of(response) == ["Failed again; the entry is open: Emptied."]
        entry.refresh_from_db()
        assert (entry.status, entry.attempts) == ("open", 2)
        assert [(each["what"], each["by"]) for each in entry.decisions] == [("accepted", "ada"), ("reopened", "grace")]

    def test_a_fork_must_be_settled_first(self, entry: LeftAside) -> None:
        scenes.open_gates(agentkit_writes=True, legacy_writes=False)
        write_columns(NASTY, {"facts": '["theirs"]'})
        scenes.run_sql(
            """UPDATE "AgentWorkflowRun" SET snapshot_at = snapshot_at + interval '1 s',
               result = '{"state": {"facts": ["ours"]}}'"""
        )
        response = superuser().post(page(entry, "retry"), follow=True)
        assert "still forked" in messages_of(response)[0]

    def test_a_retry_is_refused_while_the_other_direction_runs(self, entry: LeftAside) -> None:
        with second_connection() as other:
            other.execute("SELECT pg_advisory_lock_shared(%s, 2)", [DIRECTIONS])
            response = superuser().post(page(entry, "retry"), follow=True)
        assert messages_of(response)[0].startswith("A reverse pass is running on this database")
        entry.refresh_from_db()
        assert (entry.status, entry.attempts) == ("open", 1)

    def test_a_closed_one_stays_closed(self, entry: LeftAside) -> None:
        LeftAside.objects.close()
        superuser().post(page(entry, "retry"))
        assert LeftAside.objects.get().status == "closed"


class TestPermissions:
    def test_a_viewer_sees_the_page_without_a_form(self, entry: LeftAside) -> None:
        client = viewer("leftaside")
        shown = text_of(client.get(page(entry))).partition('id="content-main"')[2]
        assert "All five columns" in shown
        assert "csrfmiddlewaretoken" not in shown.partition("</main>")[0]
        assert "with a note" not in shown
        assert "agentstate/project/" not in shown

    @pytest.mark.parametrize("permissions", [["leftaside"], []], ids=["a viewer", "staff without permissions"])
    def test_a_decision_needs_the_change_permission(self, entry: LeftAside, permissions: list[str]) -> None:
        client = viewer(*permissions)
        assert client.get(page(entry, "accept")).status_code == 403
        assert post_acceptance(client, entry).status_code == 403
        assert client.post(page(entry, "retry")).status_code == 403
        entry.refresh_from_db()
        assert (entry.status, entry.attempts) == ("open", 1)

    def test_staff_without_permissions_see_nothing(self, entry: LeftAside) -> None:
        assert viewer().get(page(entry)).status_code == 403

    def test_an_anonymous_user_is_sent_to_the_login(self, entry: LeftAside) -> None:
        for action, method in (("change", "get"), ("accept", "post"), ("retry", "post")):
            response = getattr(Client(), method)(page(entry, action))
            assert (response.status_code, response.headers["Location"].partition("?")[0]) == (
                302,
                url_of("admin:login"),
            )

    def test_a_decision_needs_the_csrf_token(self, entry: LeftAside) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.create_superuser("root"))
        assert client.post(page(entry, "retry")).status_code == 403
        assert client.post(page(entry, "accept"), {"note": NOTE}).status_code == 403

    def test_a_get_request_changes_nothing(self, entry: LeftAside) -> None:
        assert superuser().get(page(entry, "retry")).status_code == 405
        assert superuser().post(page(entry)).status_code == 403
