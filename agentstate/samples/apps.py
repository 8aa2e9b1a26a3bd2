"""The configuration of the samples, an opt-in app: its commands write sample data."""

from __future__ import annotations

from django.apps import AppConfig


class SamplesConfig(AppConfig):
    """Commands that fill a database with sample projects and runs."""

    name = "agentstate.samples"
    label = "agentstate_samples"
