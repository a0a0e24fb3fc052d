"""Addresses of the stand-alone project."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView


def show_icon(request: HttpRequest) -> HttpResponse:
    """The icon that browsers look for on pages that name none, such as the admin's."""
    return redirect(static("dbq/icon.svg"))


urlpatterns = [
    path("favicon.ico", show_icon),
    path("", include("dbq.health_urls")),
    path("", RedirectView.as_view(pattern_name="dbq:overview")),
    path("dbq/", include("dashboard.urls")),
    path("login/", LoginView.as_view(template_name="dbq/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
]
