"""The samples' configuration: an app of its own, so that no host gets their commands unasked."""

from __future__ import annotations

from django.apps import AppConfig


class SamplesConfig(AppConfig):
    """Commands that fill a database with sample projects and runs."""

    name = "agentstate.samples"
    label = "agentstate_samples"
