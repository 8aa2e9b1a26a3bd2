from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, reverse_lazy
from django.views.generic import RedirectView

admin.site.site_header = admin.site.site_title = "agentstate"

urlpatterns = [
    path("", RedirectView.as_view(url=reverse_lazy("admin:app_list", args=["agentstate"]))),
    path("admin/", admin.site.urls),
    path("api/v1/", include("agentstate.api.urls")),
]
