"""Links to rows' pages, for users who may view them."""

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
    """Return whether a user may view a model's rows, by the admin's rules."""
    opts = model._meta
    may = (f"{opts.app_label}.{get_permission_codename(action, opts)}" for action in ("view", "change"))
    return any(map(viewer.has_perm, may))


def address_of(model: type[Model], pk: Any, viewer: User | AnonymousUser) -> str:
    """Return the address of a row's page, empty if there is none or the user may not view it."""
    if not may_see(model, viewer):
        return ""
    opts = model._meta
    try:
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[quote(pk)])
    except NoReverseMatch:
        return ""


def link_to(model: type[Model], pk: Any, text: str, viewer: User | AnonymousUser) -> str:
    """Return a link to a row's page, or the text alone if the user may not view it. The id is whole on hover.

    A text that is the id, or its beginning, has a button that copies the id.
    """
    copies = str(pk).startswith(str(text).removesuffix("…"))
    context = {"address": address_of(model, pk, viewer), "text": text, "id": pk, "copies": copies}
    return render_to_string("admin/agentstate/includes/link.html", context)
