"""The repository's own pages, and the chat of each project."""

from __future__ import annotations

from django.contrib.staticfiles.views import serve
from django.urls import include, path

from examples.chatkit import views

urlpatterns = [
    path("chat/", views.first),
    path("chat/<project_id>/", views.page, name="chat"),
    path("chat/<project_id>/api/", views.api, name="chatkit"),
    path("chat/<project_id>/files/<attachment_id>/", views.files, name="chatkit-attachment"),
    # A production server serves the admin's style sheets itself.
    path("static/<path:path>", serve, {"insecure": True}),
    path("", include("project.urls")),
]
