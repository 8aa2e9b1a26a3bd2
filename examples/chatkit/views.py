"""Who may chat, and the page that embeds the widget."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from django.contrib.admin.views.decorators import staff_member_required
from django.shortcuts import get_object_or_404, redirect, render

from agentstate.integrations.chatkit import ChatContext, attachment_view, chatkit_view
from agentstate.models import Project

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def context_of(request: HttpRequest) -> ChatContext | None:
    """Let members of staff chat about any project."""
    if not request.user.is_staff or request.resolver_match is None:
        return None
    return ChatContext(request.resolver_match.kwargs["project_id"], str(request.user.pk), request)


api = chatkit_view("examples.chatkit.chat.server", context_of)
files = attachment_view(context_of)


@staff_member_required
def first(request: HttpRequest) -> HttpResponse:
    project = get_object_or_404(Project.objects.order_by("pk")[:1])
    return redirect("chat", project.pk)


@staff_member_required
def page(request: HttpRequest, project_id: str) -> HttpResponse:
    project = get_object_or_404(Project, pk=project_id)
    # The domain's key at OpenAI; its value does not matter on localhost.
    return render(request, "page.html", {"project": project, "key": os.environ.get("CHATKIT_DOMAIN_KEY", "local")})
