"""Settling a forked, unequal or emptied project, and restoring an earlier state: confirmation and decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from agentstate.actors import acting_as
from agentstate.admin.project.moments import plain_moment
from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.admin.shared.reasons import ReasonField
from agentstate.backfill import BackfillError
from agentstate.backfill.settling import (
    SHORTEST_REASON,
    Choice,
    Dispute,
    command_of,
    dispute_of,
    has_state_at,
    newest_decision,
    replaced_by_restoring,
    settle_project,
)
from agentstate.row_security import RowsHidden

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import AnonymousUser, User
    from django.urls import URLPattern

    from agentstate.models import Project

SETTLE, RESTORE = "agentstate.settle_project", "agentstate.restore_project"

WHY = {
    "unequal": "A person must decide: no pass repairs this. The clocks say that both homes are equal, so a write "
    "bypassed the trigger, and nothing tells which home is right.",
    "emptied": "A person must decide: every pass leaves this project aside. All five columns became SQL NULL over a "
    "snapshot with content, which looks like damage.",
}
_NAMES = {
    Choice.COLUMNS: "Keep the columns",
    Choice.SNAPSHOT: "Keep the snapshot",
    Choice.RESTORE: "Restore the snapshot's state",
}


@dataclass(frozen=True)
class Offer:
    """A decision that the page offers.

    Attributes:
        address: of its confirmation; empty if the user lacks the permission.
    """

    name: str
    address: str
    loses: list[str]
    command: str


class SettleForm(forms.Form):
    seen = forms.CharField(widget=forms.HiddenInput)
    reason = ReasonField(required=True, min_length=SHORTEST_REASON, help_text="Why. It is recorded with your name.")


def why(dispute: Dispute) -> str:
    """Say whether the next pass settles it or a person must decide, and why."""
    if dispute.kind != "forked":
        return WHY[dispute.kind]
    if dispute.clashes:
        return f"A person must decide: both homes changed {_listed(dispute.clashes)} since they were equal."
    ways = [f"{each.key} from the {_changed_by(each.legacy_changed)}" for each in dispute.keys]
    taken = f" It takes {_listed(ways)}." if ways else ""
    return f"The next forward backfill merges this fork: no document was changed by both homes.{taken}"


def offers(project_id: str, dispute: Dispute, user: User | AnonymousUser) -> list[Offer]:
    """Return what can be decided about a project."""
    return [
        Offer(
            _NAMES[choice],
            address_of(project_id, choice) if user.has_perm(_permission(choice)) else "",
            loses(project_id, dispute, choice),
            command_of(project_id, choice),
        )
        for choice in dispute.choices
    ]


def loses(project_id: str, dispute: Dispute, choice: Choice, as_of: datetime | None = None) -> list[str]:
    """Spell out what a decision replaces in the present state. The history keeps all of it."""
    if choice == Choice.RESTORE:
        return [
            f"{each.key}: the columns hold {_bytes(each.columns)}, the newest snapshot {_bytes(each.snapshot)}; "
            f"afterwards both hold {_bytes(each.restored)}."
            for each in replaced_by_restoring(project_id, as_of)
        ]
    keeps_columns = choice == Choice.COLUMNS
    lost, kept = ("newest snapshot", "columns") if keeps_columns else ("columns", "newest snapshot")
    sentences: list[str] = []
    for each in dispute.keys:
        size, other = each.agentkit_size, each.legacy_size
        if not keeps_columns:
            size, other = other, size
        if not each.clashes:
            sentences.append(
                f"{each.key}: the document of the {_changed_by(each.legacy_changed)} is taken either way."
            )
        elif size is None:
            sentences.append(f"{each.key}: stays as in the {kept}. It is absent in the {lost}.")
        elif other is None:
            sentences.append(
                f"{each.key}: removed. It is absent in the {kept}; {_bytes(size)} of the {lost} give way."
            )
        else:
            sentences.append(f"{each.key}: {_bytes(size)} of the {lost} give way to {_bytes(other)} of the {kept}.")
    return sentences


def address_of(project_id: str, choice: Choice, at: str = "") -> str:
    """Return the address of a decision's confirmation."""
    query = {"choice": choice.value, **({"at": at} if at else {})}
    return f"{reverse('admin:agentstate_project_settle', args=[quote(project_id)])}?{urlencode(query)}"


class SettlePages(ReadOnlyAdmin):
    """The page on which an operator confirms a decision about a project."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.settle_view)
        return [path("<path:object_id>/settle/", view, name="agentstate_project_settle"), *super().get_urls()]

    @method_decorator(transaction.non_atomic_requests)  # a pass has transactions of its own
    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def settle_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what the decision ``?choice=`` does and ask for a reason; a POST carries it out."""
        choice = _choice(request)
        project: Project | None = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, project) or not request.user.has_perm(_permission(choice)):
            raise PermissionDenied
        if project is None:
            raise Http404("There is no such project.")
        as_of = plain_moment(request.GET.get("at", "")) if choice == Choice.RESTORE else None
        dispute = dispute_of(project.pk)
        if dispute is None or not (choice in dispute.choices or (as_of and has_state_at(project.pk, as_of))):
            text = f"Nothing is left to decide here. Nothing was changed. {newest_decision(project.pk)}".strip()
            return self._back(request, project, text, messages.WARNING)
        form = SettleForm(request.POST or None, initial={"seen": dispute.seen})
        if form.is_valid() and self._settle(request, project, choice, form, as_of):
            return self._back(request, project, f"{_title(choice, as_of)}: done.", messages.SUCCESS)
        return self._confirm(request, project, choice, form, dispute, as_of)

    def _settle(
        self, request: HttpRequest, project: Project, choice: Choice, form: SettleForm, as_of: datetime | None
    ) -> bool:
        reason, seen = form.cleaned_data["reason"], form.cleaned_data["seen"]
        try:
            with acting_as(request.user.get_username()):
                settle_project(project.pk, choice, reason=reason, seen=seen, as_of=as_of)
        except (BackfillError, RowsHidden) as error:
            form.add_error(None, str(error))
            return False
        self.log_change(request, project, f"{_title(choice, as_of)}. {reason}")
        return True

    def _back(self, request: HttpRequest, project: Project, text: str, level: int) -> HttpResponse:
        self.message_user(request, text, level)
        return HttpResponseRedirect(reverse("admin:agentstate_project_change", args=[quote(project.pk)]))

    def _confirm(
        self,
        request: HttpRequest,
        project: Project,
        choice: Choice,
        form: SettleForm,
        dispute: Dispute,
        as_of: datetime | None,
    ) -> HttpResponse:
        if form.is_bound:  # the facts below are those of now, and so is what the next attempt decides about
            form.data = {**form.data.dict(), "seen": dispute.seen}  # type: ignore[attr-defined]
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": _title(choice, as_of),
            "opts": self.opts,
            "media": self.media,
            "project": project,
            "project_url": reverse("admin:agentstate_project_change", args=[quote(project.pk)]),
            "form": form,
            "dispute": dispute,
            "why": why(dispute) if dispute.kind else "",
            "as_of": as_of,
            "then": _then(dispute, choice),
            "loses": loses(project.pk, dispute, choice, as_of),
            "command": command_of(project.pk, choice, as_of),
        }
        return TemplateResponse(request, "admin/agentstate/project/settle.html", context)


def _then(dispute: Dispute, choice: Choice) -> str:
    """Say what both homes hold afterwards."""
    if choice == Choice.RESTORE:
        return (
            "The present columns are kept in the history. The restored state is written into the columns and becomes "
            "the newest snapshot: both homes are in sync."
        )
    if choice == Choice.COLUMNS and dispute.kind != "forked":
        return "The columns become the newest snapshot: both homes are in sync."
    return (
        "The columns are kept in the history, and the state decided here becomes the newest snapshot. "
        "The columns stay as they are until the next reverse backfill writes them."
    )


def _choice(request: HttpRequest) -> Choice:
    try:
        return Choice(request.GET.get("choice", ""))
    except ValueError:
        raise Http404("There is no such decision.") from None


def _permission(choice: Choice) -> str:
    return RESTORE if choice == Choice.RESTORE else SETTLE


def _title(choice: Choice, as_of: datetime | None) -> str:
    return f"Restore the state of {as_of:%Y-%m-%d %H:%M:%S} UTC" if as_of else _NAMES[choice]


def _bytes(size: int | None) -> str:
    return "nothing" if size is None else f"{size:,} byte{'s' if size != 1 else ''}"


def _changed_by(legacy: bool) -> str:
    return "columns" if legacy else "snapshot"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
