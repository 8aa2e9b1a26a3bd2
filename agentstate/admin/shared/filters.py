"""Filters that stay fast in lists of any size."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin import ListFilter
from django.utils import timezone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest

# How far back from now, by its name in the address.
PRESETS = {
    "15min": ("15 min", timedelta(minutes=15)),
    "1h": ("1 h", timedelta(hours=1)),
    "24h": ("24 h", timedelta(hours=24)),
    "7d": ("7 d", timedelta(days=7)),
}


class FormFilter(ListFilter):
    """A filter that is a form.

    Attributes:
        form_class: its fields, none of them required.
        prefix: that of the fields' names in the address.
    """

    template = "admin/agentstate/filters/form.html"
    form_class: type[forms.Form]
    prefix: str | None = None

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: type[Model], model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        given = {name: params.pop(name)[-1] for name in self.names() if name in params}
        self.form = self.form_class(self.as_given(given), prefix=self.prefix)
        self.form.full_clean()

    def as_given(self, given: dict[str, str]) -> dict[str, str]:
        """Return what the form is filled with."""
        return given

    def value(self, name: str) -> Any:
        """Return what a field is set to, None where it is not or cannot be."""
        return self.form.cleaned_data.get(name) or None

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [*self.names()]

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the fields in the address."""
        return [f"{cls.prefix}-{name}" if cls.prefix else name for name in cls.form_class.base_fields]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Give what the form must carry on, and where its fields are empty."""
        mine = self.names()
        others = [
            (name, value)
            for name, values in changelist.filter_params.items()
            if name not in mine
            for value in (values if isinstance(values, list) else [values])
        ]
        without = changelist.get_query_string(dict.fromkeys(mine))
        yield {"others": others, "without": without, "selected": any(self.form.data.values())}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset


class TimesForm(forms.Form):
    """From a minute to a minute, or back from now."""

    since, until = (
        forms.DateTimeField(
            required=False,
            label=label,
            widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
            error_messages={"invalid": "Not a valid time; ignored. Use YYYY-MM-DDTHH:MM."},
        )
        for label in ("From", "To")
    )
    within = forms.ChoiceField(
        required=False, widget=forms.HiddenInput, choices=[(name, label) for name, (label, _) in PRESETS.items()]
    )


class DateRangeFilter(FormFilter):
    """The rows from a minute to a minute, both included, in the current zone; or of the time until now.

    Attributes:
        field: the column.
    """

    field: str
    form_class = TimesForm
    template = "admin/agentstate/filters/times.html"

    def __init_subclass__(cls) -> None:
        cls.prefix = cls.field

    @property
    def zone(self) -> str:
        return timezone.get_current_timezone_name()

    def as_given(self, given: dict[str, str]) -> dict[str, str]:
        """Take a day for its first minute, and as an end for its last."""
        ends = {f"{self.field}-since": "T00:00", f"{self.field}-until": "T23:59"}
        return {
            name: value + ends[name] if name in ends and re.fullmatch(r"\d{4}-\d\d-\d\d", value) else value
            for name, value in given.items()
        }

    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """Return the first moment, and the one before which the others are."""
        since, until = self.value("since"), self.value("until")
        if within := self.value("within"):
            return timezone.now() - PRESETS[within][1], None
        return since, _minute_after(until) if until else None

    def presets(self, address_of: Callable[[dict[str, str]], str]) -> list[dict[str, Any]]:
        """Return the links to the times until now.

        Args:
            address_of: returns the address with a parameter.
        """
        chosen = self.value("within")
        return [
            {"label": label, "address": address_of({f"{self.field}-within": name}), "selected": name == chosen}
            for name, (label, _) in PRESETS.items()
        ]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        mine = dict.fromkeys(self.names())
        presets = self.presets(lambda parameter: changelist.get_query_string({**mine, **parameter}))
        for choice in super().choices(changelist):
            yield choice | {"presets": presets}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        since, until = self.bounds()
        if since:
            queryset = queryset.filter(**{f"{self.field}__gte": since})
        if until:
            queryset = queryset.filter(**{f"{self.field}__lt": until})
        return queryset


def _minute_after(moment: datetime) -> datetime | None:
    """Return the minute after a moment's, None after the last that there is."""
    try:
        return moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    except OverflowError:
        return None
