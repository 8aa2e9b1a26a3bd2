"""The rollout flags and their history."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator
from django.http import HttpResponseRedirect
from django.template.loader import render_to_string
from django.utils.text import get_text_list

from agentstate.actors import acting_as
from agentstate.admin.flags.consequences import consequences_of
from agentstate.admin.shared.base import BaseAdmin
from agentstate.admin.shared.paging import KeysetPages
from agentstate.admin.shared.reasons import ReasonField
from agentstate.gates import GATES
from agentstate.isolation import read_committed
from agentstate.models import Flag, FlagChange, Project
from agentstate.rollout.errors import FlagsLocked
from agentstate.rollout.flag_lock import lock_flags
from agentstate.state.columns import legacy_columns_are_there

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    FlagModelForm = forms.ModelForm[Flag]
else:
    FlagModelForm = forms.ModelForm

RECENT = 10
NAMED = 3  # changes that a refusal names
SHARE, PROJECTS = "unknown", "projects"
# What a flag is on for. The values beside these two are Django's for a boolean.
CHOICES = (
    ("false", "off"),
    (SHARE, "a share of the projects"),
    (PROJECTS, "these projects only"),
    ("true", "everyone"),
)

WHO = ("everyone", "percent", "project_ids")


class WhoWidget(forms.RadioSelect):
    """What a flag is on for: one choice, with the inputs that belong to it beside it."""

    template_name = "admin/agentstate/flag/who.html"
    inputs: Mapping[str, forms.BoundField] = {}

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        for _, options, _ in context["widget"]["optgroups"]:
            for option in options:
                option["input"] = self.inputs.get(option["value"])
        return context


class LinesField(forms.CharField):
    """A list of texts, one per line."""

    widget = forms.Textarea(attrs={"rows": 5})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        ProhibitNullCharactersValidator()(text)
        return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


class FlagForm(FlagModelForm):
    """A flag's settings. A change of a gate that refuses saves or skips a stage is saved only if it is confirmed.

    ``seen`` is the newest change that the page was shown with. Later ones are named before anything is saved.
    """

    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    confirmed = forms.BooleanField(
        required=False, label="Save it all the same", widget=forms.HiddenInput, help_text="What is above will happen."
    )
    reason = ReasonField(help_text="Why you change it. Recorded with your name in this flag's history.")
    project_ids = LinesField(
        required=False,
        label="Projects by id",
        help_text="One id per line. With a share chosen, the flag is on for these projects too.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._newest = getattr(self.instance, "newest_change", 0)  # see FlagAdmin.get_object
        if "everyone" in self.fields:
            widget = WhoWidget()
            widget.inputs = {SHARE: self["percent"], PROJECTS: self["project_ids"]}
            self.fields["everyone"] = forms.TypedChoiceField(
                label="On for", choices=CHOICES, widget=widget, coerce={"true": True, "false": False}.get
            )
            self.initial["everyone"] = _choice_of(self.instance)
        if "seen" in self.fields:
            self.initial["seen"] = self._newest

    class Meta:
        help_texts = {
            "percent": (
                "0 to 100, one decimal. A project has the same bucket in all flags. legacy_writes counts from the "
                "other end: with shares that add up to 100, every project has a home."
            ),
            "authenticated": "On for every authenticated user.",
            "staff": "On for staff.",
            "superusers": "On for superusers.",
            "note": "A comment. The gates ignore it.",
        }

    def clean_project_ids(self) -> list[str]:
        """Refuse added ids that no project has. Ids that are already stored stay: their projects may be deleted."""
        ids: list[str] = self.cleaned_data["project_ids"]
        added = [project_id for project_id in ids if project_id not in self.instance.project_ids]
        if unknown := Project.objects.unknown(added):
            raise ValidationError(f"No project has this id: {', '.join(unknown)}.")
        return ids

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.data.get(self.add_prefix("everyone")) == PROJECTS:
            self.cleaned_data["percent"] = None
        if "seen" in self.fields and (later := self._changes_since_shown()):
            # The next attempt is about the present settings, and a tick was given for other consequences.
            self.data = data = self.data.copy()  # type: ignore[attr-defined]
            data[self.add_prefix("seen")], data[self.add_prefix("confirmed")] = str(self._newest), ""
            raise ValidationError([*later, "Nothing was saved. Save again to set what is entered below."])
        settings = {name: self.cleaned_data.get(name) for name in ("everyone", "percent", "project_ids")}
        if self.errors or not settings.keys() <= self.fields.keys():
            return cleaned
        changed = copy(self.instance)
        for name, setting in settings.items():
            setattr(changed, name, setting)
        if consequences := consequences_of(changed):
            self.fields["confirmed"].widget = forms.CheckboxInput()
            if not self.cleaned_data.get("confirmed"):
                raise ValidationError([*consequences, "Nothing was saved. To save it all the same, tick the box."])
        return cleaned

    def _changes_since_shown(self) -> list[str]:
        """Name the newest changes of this flag and of the gates that the page was not shown with."""
        seen = self.cleaned_data.get("seen", "")
        newer = FlagChange.objects.filter(
            flag__in=[*GATES, self.instance.name], pk__gt=int(seen) if seen.isdecimal() and len(seen) < 20 else 0
        )
        return [
            f"{change.changed_by} changed {change.flag} after this page was shown: {change.summary}."
            for change in newer.order_by("-pk")[:NAMED]
        ]


def _choice_of(flag: Flag) -> str:
    """Return the choice that a flag's settings are."""
    if flag.everyone is not None:
        return "true" if flag.everyone else "false"
    return PROJECTS if flag.project_ids and not flag.percent else SHARE


@admin.register(Flag)
class FlagAdmin(BaseAdmin):
    """The flags that operators toggle. A migration makes the rows; they cannot be added or deleted here."""

    form = FlagForm  # type: ignore[assignment]
    list_display = ("name", "state", "note")
    ordering = ("name",)
    readonly_fields = ("name",)
    raw_id_fields = ("users",)
    filter_horizontal = ("groups",)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        gate = GATES.get(obj.name) if obj else None
        people = (
            "Users",
            {
                "description": "Applies to reads made for a user's request, for every project.",
                "fields": ("authenticated", "staff", "superusers", "groups", "users"),
            },
        )
        changes = self.has_change_permission(request, obj)
        return [
            (None, {"fields": (*(("seen", "confirmed") if changes else ()), "name", *self._who(request, obj))}),
            *([people] if gate is None or gate.is_for_users else []),
            ("Note", {"fields": ("note", *(("reason",) if changes else ()))}),
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        # The control renders these two inputs, so that no fieldset does.
        shown = flatten_fieldsets(self.get_fieldsets(request, obj))
        kwargs["fields"] = list(dict.fromkeys([*shown, *WHO]))
        return super().get_form(request, obj, change, **kwargs)

    def _who(self, request: HttpRequest, obj: Any) -> tuple[str, ...]:
        return WHO[:1] if self.has_change_permission(request, obj) else WHO

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Describe the change with its reason, for the history and the recent actions."""
        message = get_text_list(
            [
                str(form.fields[name].label or name)
                for name in form.changed_data
                if name not in ("seen", "confirmed", "reason")
            ],
            "and",
        )
        reason = form.cleaned_data.get("reason", "")
        return f"Changed {message or 'nothing'}.{f' {reason}' if reason else ''}"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {
            "changes": self._latest_changes(object_id),
            "has_columns": legacy_columns_are_there(),
            **(extra_context or {}),
        }
        if request.method != "POST" or not self.has_change_permission(request):
            return super().changeform_view(request, object_id, form_url, context)
        try:
            with acting_as(request.user.get_username()), read_committed():
                lock_flags()  # what the form is held against stays so until it is saved
                return super().changeform_view(request, object_id, form_url, context)
        except FlagsLocked as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(request.path)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        # In this order: a change in between counts as one that the page was not shown with.
        newest = FlagChange.objects.order_by("-pk").values_list("pk", flat=True).first()
        flag = super().get_object(request, object_id, from_field)
        if flag is not None:
            flag.newest_change = newest or 0
        return flag

    def _latest_changes(self, object_id: str | None) -> QuerySet[FlagChange]:
        """Return the newest changes, lazily."""
        names = Flag.objects.filter(pk=object_id).values("name") if (object_id or "").isdecimal() else []
        return FlagChange.objects.filter(flag__in=names).order_by("-id")[:RECENT]

    @admin.display(description="State")
    def state(self, flag: Flag) -> str:
        if flag.everyone is not None:
            return "on for everyone" if flag.everyone else "off for everyone"
        parts = [f"{flag.percent.normalize():f} % of the projects"] if flag.percent else []
        if flag.project_ids:
            parts.append(f"{len(flag.project_ids)} by name")
        return " and ".join(parts) or "off"


@admin.register(FlagChange)
class FlagChangeAdmin(KeysetPages):
    list_display = ("changed", "flag", "summary", "changed_by")
    list_filter = ("flag",)
    search_fields = ("=changed_by",)
    search_help_text = "Who changed it."
    keyset = ("-id",)
    fields = readonly_fields = ("flag", "summary", "changed", "changed_by", "before", "after")

    @admin.display(description="changed")
    def changed(self, change: FlagChange) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": change.changed_at})
