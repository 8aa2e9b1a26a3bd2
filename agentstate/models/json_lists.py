"""SQL functions on a list in jsonb: what operators asked or decided, the oldest first."""

from __future__ import annotations

from django.db import models
from django.db.models import Func, Value
from django.db.models.functions import Cast


class Appended(Func):
    """A list in jsonb with one more object, which gets the time as ``at``."""

    output_field = models.JSONField()

    def __init__(self, column: str, **members: str) -> None:
        texts = [text for pair in members.items() for text in pair]
        super().__init__(*(Cast(Value(text), models.TextField()) for text in texts))
        self.extra["column"] = column

    template = "(%(column)s || jsonb_build_object(%(expressions)s, 'at', clock_timestamp()))"


class Length(Func):
    """How many entries a list in jsonb has; another value has none."""

    template = "CASE jsonb_typeof(%(expressions)s) WHEN 'array' THEN jsonb_array_length(%(expressions)s) ELSE 0 END"
    output_field = models.IntegerField()
