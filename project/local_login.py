"""The admin login that local use makes for itself."""

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
    """Make the login, with a password kept in the data folder, where the database has no superuser yet.

    Returns None where superusers are there and the kept password is not, or no longer, one of theirs:
    no account that somebody made or changed is touched.
    """
    password = read_or_create(data_dir / FILE_NAME, lambda: secrets.token_urlsafe(12))
    superusers = User.objects.filter(is_superuser=True)
    if not superusers.exists():
        User.objects.create_superuser(NAME, password=password)
    ours = superusers.filter(username=NAME).first()
    return Login(NAME, password) if ours and ours.check_password(password) else None
