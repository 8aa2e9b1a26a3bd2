"""The decorator of Django's tasks framework: in Django 6 itself, before that in the package django-tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import VERSION

if TYPE_CHECKING or VERSION < (6, 0):
    from django_tasks import task
else:
    from django.tasks import task

__all__ = ["task"]
