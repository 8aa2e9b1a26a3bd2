"""The admin login for local use."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from django.contrib.auth.models import User

from project.private_files import read_or_create

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "admin-password"
NAME = "admin"


class Login(NamedTuple):
    name: str
    password: str


def ensure_local_login(data_dir: Path) -> Login | None:
    """Create the login if the database has no superuser; keep its password in the data folder.

    Accounts that exist are not changed. Returns None if none of them is this login with the kept password.
    """
    password = read_or_create(data_dir / FILE_NAME, lambda: secrets.token_urlsafe(12))
    superusers = User.objects.filter(is_superuser=True)
    if not superusers.exists():
        User.objects.create_superuser(NAME, password=password)
    ours = superusers.filter(username=NAME).first()
    return Login(NAME, password) if ours and ours.check_password(password) else None
