"""The reason that an operator gives for an action; it is recorded with their name."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import ProhibitNullCharactersValidator

from agentstate.recording.storable import storable_text


class ReasonField(forms.CharField):
    """A reason, as text that the database can store."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            **{
                "label": "Reason",
                "help_text": "Recorded with your name.",
                "max_length": 2_000,
                "required": False,
                "widget": forms.Textarea(attrs={"rows": 3, "cols": 60}),
                "validators": [ProhibitNullCharactersValidator()],
                **kwargs,
            }
        )

    def to_python(self, value: Any) -> str:
        return storable_text(super().to_python(value) or "")
