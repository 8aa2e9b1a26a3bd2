"""Who looks at pages: clients that are logged in."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.test import Client


def superuser() -> Client:
    return _logged_in(User.objects.create_superuser(f"root-{User.objects.count()}"))


def viewer(*models: str) -> Client:
    """Return the client of a member of staff who may view these models, and nothing else."""
    user = User.objects.create_user(f"viewer-{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"view_{model}" for model in models]))
    return _logged_in(user)


def _logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client
