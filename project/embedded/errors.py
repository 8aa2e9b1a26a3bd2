from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class EmbeddedPostgresError(ImproperlyConfigured):
    """The embedded PostgreSQL cannot be used. The message is one sentence with the way out."""
