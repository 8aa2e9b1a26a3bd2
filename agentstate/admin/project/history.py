"""A project's moments as a table: what each save changed, in words; and the blame of a path."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.timezone import get_current_timezone
from django.views.decorators.http import require_safe

from agentstate.admin.project import panels
from agentstate.admin.project.blame import EXAMPLES, BadPath, Blame, Path, blame, parse_path
from agentstate.admin.project.moments import moment_text, plain_moment
from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.state.documents import ABSENT, decode
from agentstate.state.keys import STATE_KEYS
from agentstate.state.past_values import documents_before, documents_written, newest_saves

if TYPE_CHECKING:
    from django.urls import URLPattern

    from agentstate.models import Project
    from agentstate.state.past_values import SavedDocument, SavedValue

# Moments of one page.
MOMENTS = 25
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class MomentRow:
    """A moment in the table.

    Attributes:
        changes: of small documents, in words.
        large: the names of changed documents that are too large to be compared.
    """

    at: datetime
    run_id: str
    workflow_id: str
    changes: list[panels.Change]
    large: list[str]

    @property
    def query(self) -> str:
        """The query of the project's page at this moment."""
        return urlencode({"at": moment_text(self.at)})


class HistoryForm(forms.Form):
    document = forms.ChoiceField(
        required=False, choices=[("", "All documents"), *((key.name, key.name) for key in STATE_KEYS)]
    )
    day = forms.DateField(
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        error_messages={"invalid": "Not a valid date; ignored. Use YYYY-MM-DD."},
    )


class HistoryPages(ReadOnlyAdmin):
    """The table of a project's moments, and the blame of a path."""

    def get_urls(self) -> list[URLPattern]:
        return [
            path(f"<path:object_id>/{name}/", self.admin_site.admin_view(view), name=f"agentstate_project_{name}")
            for name, view in (("history_table", self.history_table_view), ("blame", self.blame_view))
        ] + super().get_urls()

    @method_decorator(require_safe)
    def history_table_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the newest moments, or those ``?before=`` one, of a ``document`` or a ``day``."""
        project = self._seen_project(request, object_id)
        form = HistoryForm(request.GET)
        form.is_valid()
        before, pending = (plain_moment(request.GET.get(name, "")) for name in ("before", "pending"))
        key, day = form.cleaned_data.get("document", ""), form.cleaned_data.get("day")
        since = datetime.combine(day, time(), get_current_timezone()) if day else None
        end = since + timedelta(days=1) if since and since.year < 9999 else None
        before = min((moment for moment in (before, end) if moment), default=None)
        if key:
            rows, older = _of_document(project.pk, key, since, before, pending)
        else:
            rows, older = _of_all(project.pk, since, before)
        kept = {name: value for name, value in (("document", key), ("day", str(day or ""))) if value}
        return self._history_page(
            request, project, "history", form=form, rows=rows, older=f"?{urlencode(kept | older)}" if older else ""
        )

    @method_decorator(require_safe)
    def blame_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show which runs set the value at ``?path=``, the newest first."""
        project = self._seen_project(request, object_id)
        text = request.GET.get("path", "")
        until, pending = (plain_moment(request.GET.get(name, "")) for name in ("until", "pending"))
        found, problem = None, ""
        try:
            if text.strip():
                found = blame(project.pk, parse_path(text), until=until, pending_at=pending, longest=400)
        except BadPath as error:
            problem = str(error)
        older = f"?{urlencode({'path': text, **_places('until', found)})}" if found and found.until else ""
        return self._history_page(
            request, project, "blame", path=text, problem=problem, blame=found, examples=EXAMPLES, older=older
        )

    def _seen_project(self, request: HttpRequest, object_id: str) -> Project:
        project: Project | None = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, project):
            raise PermissionDenied
        if project is None:
            raise Http404("There is no such project.")
        return project

    def _history_page(self, request: HttpRequest, project: Project, template: str, **context: Any) -> HttpResponse:
        titles = {"history": "Moments", "blame": "Who set it"}
        context = {
            **self.admin_site.each_context(request),
            "title": titles[template],
            "opts": self.opts,
            "media": self.media,
            "project": project,
            "project_url": reverse("admin:agentstate_project_change", args=[quote(project.pk)]),
            **context,
        }
        return TemplateResponse(request, f"admin/agentstate/project/{template}.html", context)


def _places(name: str, found: Blame, shift: timedelta = timedelta(0)) -> dict[str, str]:
    """Return the parameters of the page that follows."""
    places = ((name, found.until and found.until + shift), ("pending", found.pending))
    return {name: moment_text(at) for name, at in places if at} if found.until else {}


def _of_all(
    project_id: str, since: datetime | None, before: datetime | None
) -> tuple[list[MomentRow], dict[str, str]]:
    """Return a page of moments, and the parameters of the next one."""
    saves = newest_saves(project_id, since=since, before=before, limit=MOMENTS + 1)
    shown = saves[:MOMENTS]
    if not shown:
        return [], {}
    state = {document.key: document for document in documents_before(project_id, shown[-1][0])}
    written: dict[datetime, list[SavedDocument]] = {}
    for document in documents_written(project_id, [at for at, _, _ in shown]):
        written.setdefault(document.at, []).append(document)
    rows: list[MomentRow] = []
    for at, run_id, workflow_id in reversed(shown):
        changed, large = list[panels.Change](), list[str]()
        for document in written.get(at, []):
            was, state[document.key] = state.get(document.key), document
            if (was.digest if was else None) != document.digest:
                _sort(document.key, was, document, changed, large)
        rows.append(MomentRow(at, run_id, workflow_id, changed, large))
    return rows[::-1], {"before": moment_text(shown[-1][0])} if len(saves) > MOMENTS else {}


def _of_document(
    project_id: str, key: str, since: datetime | None, before: datetime | None, pending: datetime | None
) -> tuple[list[MomentRow], dict[str, str]]:
    """Return a page of the moments at which one document changed, and the parameters of the next one."""
    found = blame(project_id, Path(key, "$"), until=before and before - INSTANT, pending_at=pending)
    rows: list[MomentRow] = []
    for change in found.changes:
        if since and change.save.at < since:
            return rows, {}
        changed, large = list[panels.Change](), list[str]()
        _sort(key, change.before, change.save, changed, large)
        rows.append(MomentRow(change.save.at, change.save.run_id, change.save.workflow_id, changed, large))
    return rows, _places("before", found, INSTANT)


def _sort(
    key: str,
    before: SavedDocument | SavedValue | None,
    after: SavedDocument | SavedValue,
    changed: list[panels.Change],
    large: list[str],
) -> None:
    """Add a change to those in words, or its document to the large ones."""
    values = [_value(before), _value(after)]
    change = None if None in values else panels.change_of(key, *(value.document for value in values if value))
    if change:
        changed.append(change)
    else:
        large.append(key)


@dataclass(frozen=True)
class _Value:
    document: Any


def _value(saved: SavedDocument | SavedValue | None) -> _Value | None:
    """Return a document, ``ABSENT`` where there is none; None if its text was left out or cut."""
    if saved is None or saved.digest is None:
        return _Value(ABSENT)
    if saved.text is None or getattr(saved, "size", None) not in (None, len(saved.text)):
        return None
    return _Value(decode(saved.text))
