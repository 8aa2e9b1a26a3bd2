"""Asking the gates: for projects of chosen buckets, and for users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import AnonymousUser, User
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from agentstate import gates

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

ASK: dict[str, Callable[..., bool]] = {
    "agentkit_writes": gates.agentkit_writes,
    "legacy_writes": gates.legacy_writes,
    "agentkit_reads": gates.agentkit_reads,
    "agentkit_shadow_reads": gates.agentkit_shadow_reads,
}
ALL = list(ASK)
READS = ["agentkit_reads", "agentkit_shadow_reads"]
WRITES = ["agentkit_writes", "legacy_writes"]
BY_BUCKET = {gates.bucket(name): name for name in (f"p{number}" for number in range(12_000))}
LOW, HIGH = BY_BUCKET[0], BY_BUCKET[999]
# Projects on both sides of each percent that is tried here, by bucket.
PERCENTS = ("0", "0.1", "5", "9.9", "10", "12.5", "40", "50", "60", "87.5", "99.9", "100")
SIZES = [round(float(percent) * 10) for percent in PERCENTS]
EDGES = {edge + side for size in SIZES for edge in (size, 1000 - size) for side in (-1, 0)} & BY_BUCKET.keys()
PROJECTS = {number: BY_BUCKET[number] for number in EDGES}


def share_of(name: str) -> set[int]:
    """Return the buckets for whose projects the gate is on."""
    return {number for number, project in PROJECTS.items() if ASK[name](project)}


def request_of(user: User | AnonymousUser | None) -> HttpRequest:
    request = RequestFactory().get("/")
    if user is not None:
        # As Django's middleware gives it.
        request.user = SimpleLazyObject(lambda: user)  # type: ignore[assignment]
    return request
