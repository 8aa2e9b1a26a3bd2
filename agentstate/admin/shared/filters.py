"""Filters that stay fast in lists of any size."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin import ListFilter
from django.utils.timezone import get_current_timezone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest


def _date(label: str) -> forms.DateField:
    return forms.DateField(
        required=False,
        label=label,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        error_messages={"invalid": "Not a valid date; ignored. Use YYYY-MM-DD."},
    )


class DateRangeFilter(ListFilter):
    """The rows from a day to a day, both included, in the zone of the site.

    Attributes:
        field: the column.
    """

    field: str
    template = "admin/agentstate/filters/dates.html"

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: type[Model], model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        form = type("DatesForm", (forms.Form,), {"since": _date("From"), "until": _date("To")})
        given = {name: params.pop(name)[-1] for name in self._names() if name in params}
        self.form: forms.Form = form(given, prefix=self.field)
        self.form.full_clean()

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [*self._names()]

    def _names(self) -> list[str]:
        return [f"{self.field}-{end}" for end in ("since", "until")]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Give what the form must carry on, and where no dates are."""
        mine = self._names()
        others = [
            (name, value)
            for name, values in changelist.filter_params.items()
            if name not in mine
            for value in (values if isinstance(values, list) else [values])
        ]
        without = changelist.get_query_string(dict.fromkeys(mine))
        yield {"others": others, "without": without, "selected": any(self.form.data.values())}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        since, until = (self.form.cleaned_data.get(end) for end in ("since", "until"))
        if since:
            queryset = queryset.filter(**{f"{self.field}__gte": _midnight(since)})
        if until and until < date.max:
            queryset = queryset.filter(**{f"{self.field}__lt": _midnight(until + timedelta(days=1))})
        return queryset


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), get_current_timezone())
