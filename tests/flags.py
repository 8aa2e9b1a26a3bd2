"""Flags in tests."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import transaction

from agentstate.models import Flag

if TYPE_CHECKING:
    from collections.abc import Iterator


def turn(name: str, **settings: Any) -> Flag:
    """Make a flag anew with these settings, and everything else of it at nothing."""
    Flag.objects.filter(name=name).delete()
    members = {field: settings.pop(field) for field in ("users", "groups") if field in settings}
    flag = Flag.objects.create(name=name, **settings)
    for field, them in members.items():
        getattr(flag, field).set(them)
    return flag


@contextmanager
def rolled_back() -> Iterator[None]:
    """Do something that is undone in the end."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
