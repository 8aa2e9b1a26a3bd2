"""The secret key: production sets one, local use keeps a generated one in the data folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from project.private_files import read_or_create

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "secret-key"


def local_secret_key(data_dir: Path) -> str:
    """Return the generated key; an empty string if there is none."""
    path = data_dir / FILE_NAME
    return path.read_text() if path.exists() else ""


def ensure_local_secret_key(data_dir: Path) -> None:
    read_or_create(data_dir / FILE_NAME, get_random_secret_key)


def require_secret_key() -> None:
    """Refuse to serve without a key when the server starts, rather than at the first login.

    Raises:
        ImproperlyConfigured: there is no key.
    """
    try:
        settings.SECRET_KEY  # noqa: B018
    except ImproperlyConfigured as error:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set: put a long random value into the environment or into .env, "
            "or use `make run`, which makes one for local use."
        ) from error
