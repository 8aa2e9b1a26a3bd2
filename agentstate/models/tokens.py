"""Tokens of the HTTP API: who may read or write. Only a digest of each is stored."""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import TYPE_CHECKING

from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Now

from agentstate.isolation import update

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

# Tools that look for leaked secrets find a token by it.
PREFIX = "agentstate_"


class Scope(models.TextChoices):
    """What a token allows. ``admin`` is reserved: no route asks for it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Questions about tokens, and their making and revoking."""

    def issue(self, name: str, scopes: Iterable[str]) -> str:
        """Make a token, and return it. It cannot be read again: the database has its digest only.

        Raises:
            IntegrityError: a token of this name is in use.
        """
        token = PREFIX + secrets.token_urlsafe(32)
        with transaction.atomic(self.db):
            self.create(name=name, digest=digest_of(token), scopes=sorted(set(scopes)))
        return token

    def in_use(self) -> Self:
        """Return the tokens that are not revoked."""
        return self.filter(revoked_at=None)

    def revoke(self, name: str) -> bool:
        """Revoke the token of this name that is in use, and return whether there was one."""
        return bool(update(self.in_use().filter(name=name), revoked_at=Now()))


class ApiToken(models.Model):
    """A token of the HTTP API. A revoked one stays listed, and its name is free again."""

    name = models.TextField(help_text="Who or what uses it.")
    digest = models.TextField(help_text="SHA-256 of the token, in hexadecimal.")
    scopes = ArrayField(models.TextField(choices=Scope))
    created_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(null=True, blank=True, help_text="Its last use, to within ten minutes.")
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        db_table = "AgentStateApiToken"
        verbose_name = "API token"
        constraints = [
            # Read by the look-up of the token that a request has.
            models.UniqueConstraint(fields=["digest"], name="AgentStateApiToken_digest_key"),
            # Read by the look-up of the name that a command gives.
            models.UniqueConstraint(
                fields=["name"], condition=Q(revoked_at=None), name="AgentStateApiToken_name_in_use_key"
            ),
        ]

    def __str__(self) -> str:
        return self.name


def digest_of(token: str) -> str:
    """Return a token's digest. A token has 256 random bits, so no salt and no slow hash is needed."""
    return sha256(token.encode(errors="replace")).hexdigest()
