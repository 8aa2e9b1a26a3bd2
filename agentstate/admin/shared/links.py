"""Links to rows' pages, for those who may follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import quote
from django.contrib.auth import get_permission_codename
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User
    from django.db.models import Model


def may_see(model: type[Model], viewer: User | AnonymousUser) -> bool:
    """Tell whether somebody may view a model's rows, as the admin decides it."""
    opts = model._meta
    may = (f"{opts.app_label}.{get_permission_codename(action, opts)}" for action in ("view", "change"))
    return any(map(viewer.has_perm, may))


def address_of(model: type[Model], pk: Any, viewer: User | AnonymousUser) -> str:
    """Return the address of a row's page, or nothing where there is none or the viewer may not see it."""
    if not may_see(model, viewer):
        return ""
    opts = model._meta
    try:
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[quote(pk)])
    except NoReverseMatch:
        return ""


def link_to(model: type[Model], pk: Any, text: str, viewer: User | AnonymousUser) -> str:
    """Return a link to a row's page, or its text alone where there is nothing that the viewer may follow."""
    address = address_of(model, pk, viewer)
    return render_to_string("admin/agentstate/includes/link.html", {"address": address, "text": text})
