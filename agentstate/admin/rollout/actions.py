"""The steps that an operator takes on the rollout's pages: asked for, confirmed, then taken in the background."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods

from agentstate.actors import acting_as
from agentstate.admin.rollout.context import known_conditions
from agentstate.admin.rollout.effects import changes_of, effects_of
from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.admin.shared.reasons import ReasonField
from agentstate.models import StepRequest
from agentstate.rollout.counting import Counted
from agentstate.rollout.requests import newest_request, take_in_background
from agentstate.rollout.stages import READ_SHARES, Position, RolloutState, Stage, above, below, shown
from agentstate.rollout.steps import unfinished_step

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User
    from django.urls import URLPattern

    from agentstate.admin.rollout.presentation import ConditionRow

ADVANCE, OVERRIDE, RETREAT = (f"agentstate.{action}_rollout" for action in ("advance", "override", "retreat"))
WAIT = 1.5  # seconds that a request waits for the end of a step before it shows the progress


class StepForm(forms.Form):
    """The confirmation of a step from the position that the operator saw."""

    seen = forms.CharField(widget=forms.HiddenInput)
    percent = forms.DecimalField(
        label="Percent of the projects", min_value=0, max_value=100, max_digits=4, decimal_places=1, required=False
    )
    reason = ReasonField()

    def __init__(self, data: Any, position: Position, target: Position, *, needs_reason: bool) -> None:
        super().__init__(data, initial={"seen": token_of(position)})
        self._now, self._goes_up = position.percent, target.stage.reaches(position.stage)
        percent, self.fields["reason"].required = self.fields["percent"], needs_reason
        if self._goes_up and target.stage == Stage.AGENTKIT_READ and target != position:
            shares = ", ".join(f"{share:f}" for share in READ_SHARES if share > position.percent)
            percent.initial, percent.required = shown(target.percent), True
            percent.help_text = f"That read from the AgentKit home: more than {shown(self._now)}. Usual: {shares}."
        elif not self._goes_up and position.stage == Stage.AGENTKIT_READ:
            percent.help_text = f"That still read from the AgentKit home: less than {shown(self._now)}. Empty: none."
        else:
            del self.fields["percent"]

    def clean_percent(self) -> Decimal | None:
        percent: Decimal | None = self.cleaned_data["percent"]
        if percent is None or (self._now < percent if self._goes_up else 0 < percent < self._now):
            return percent
        raise forms.ValidationError(f"This is not {'more' if self._goes_up else 'less'} than {shown(self._now)}.")


def token_of(position: Position) -> str:
    """Return a position as a form has it."""
    return f"{position.stage.value}:{position.percent:f}"


class StepPages(ReadOnlyAdmin):
    """The pages on which an operator confirms a step up or down."""

    def step_urls(self) -> list[URLPattern]:
        return [
            path("advance/", self.admin_site.admin_view(self.advance_view), name="agentstate_rollout_advance"),
            path("retreat/", self.admin_site.admin_view(self.retreat_view), name="agentstate_rollout_retreat"),
        ]

    @method_decorator(transaction.non_atomic_requests)  # the thread of the step has a connection of its own
    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def advance_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for the confirmation of a step up; a POST takes it. With conditions not met it needs a reason."""
        position = self._position(request, ADVANCE, OVERRIDE)
        target = above(position) if position else None
        if position is None or target is None or target.stage == Stage.CONTRACTED:
            return self._refuse(request, "No step up can be taken here.")
        rows = known_conditions(target, Counted.read())
        missing = [row for row in rows or () if not row.holds]
        if rows is None:
            return self._refuse(request, "The conditions are being counted. Advance when they are known.")
        if not request.user.has_perm(OVERRIDE if missing else ADVANCE):
            raise PermissionDenied
        return self._answer(request, StepRequest.Action.ADVANCE, position, target, missing)

    @method_decorator(transaction.non_atomic_requests)  # the thread of the step has a connection of its own
    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def retreat_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for the confirmation of a step down; a POST takes it."""
        position = self._position(request, RETREAT)
        if position and unfinished_step(position):
            return self._answer(request, StepRequest.Action.RETREAT, position, position, [])
        target = below(position) if position and position.stage != Stage.CONTRACTED else None
        if position is None or target is None:
            return self._refuse(request, "No step down can be taken here.")
        return self._answer(request, StepRequest.Action.RETREAT, position, target, [])

    def _position(self, request: HttpRequest, *permissions: str) -> Position | None:
        if not self.has_view_permission(request) or not any(map(request.user.has_perm, permissions)):
            raise PermissionDenied
        return RolloutState.read().position

    def _refuse(self, request: HttpRequest, fact: str) -> HttpResponse:
        self.message_user(request, f"{fact} Nothing was changed.", messages.ERROR)
        return HttpResponseRedirect(reverse("admin:agentstate_rollout_changelist"))

    def _answer(
        self,
        request: HttpRequest,
        action: StepRequest.Action,
        position: Position,
        target: Position,
        missing: list[ConditionRow],
    ) -> HttpResponse:
        form = StepForm(request.POST or None, position, target, needs_reason=bool(missing))
        if request.method == "POST" and form.data.get("seen", "") != token_of(position):
            return self._refuse(request, f"The stage changed after the page was shown; it is {position} now.")
        if form.is_valid():
            return self._take(request, action, position, form, overrides=bool(missing))
        context = {
            **self.admin_site.each_context(request),
            "title": _title(action, position, target, overrides=bool(missing)),
            "opts": self.opts,
            "media": self.media,
            "action": action.value,
            "position": position,
            "target": target,
            "form": form,
            "missing": missing,
            "changes": changes_of(RolloutState.read(), target),
            "effects": effects_of(action, position, target, Counted.read()),
        }
        return TemplateResponse(request, "admin/agentstate/rollout/confirm.html", context)

    def _take(
        self, request: HttpRequest, action: StepRequest.Action, position: Position, form: StepForm, *, overrides: bool
    ) -> HttpResponse:
        asked = StepRequest(
            action=action,
            stage=position.stage,
            percent=position.percent,
            to_percent=form.cleaned_data.get("percent"),
            overrides=overrides,
            reason=form.cleaned_data["reason"],
        )
        with acting_as(request.user.get_username()):
            asked = take_in_background(asked, WAIT)
        self.log_change(request, asked, f"{action.label} from {position}. {asked.reason}".strip())
        newest = newest_request()
        if asked.outcome == StepRequest.Outcome.REFUSED and newest != asked:  # the page shows the newest alone
            self.message_user(request, f"{action.label} was refused: {asked.message}", messages.ERROR)
        return HttpResponseRedirect(reverse("admin:agentstate_rollout_changelist"))


def may(user: User | AnonymousUser) -> dict[str, bool]:
    """Return which steps a user may take."""
    return {name: user.has_perm(f"agentstate.{name}_rollout") for name in ("advance", "override", "retreat")}


def _title(action: StepRequest.Action, position: Position, target: Position, *, overrides: bool) -> str:
    if position == target:
        return f"Continue the retreat to {target}"
    if overrides:
        return f"Override: advance from {position} to {target}"
    return f"{action.label} from {position} to {target}"
