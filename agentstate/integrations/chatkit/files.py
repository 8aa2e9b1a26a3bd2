"""Attachments: their rows, and their bytes in Django's storage."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.files.storage import default_storage
from django.db.models import Q
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from agentstate.integrations.chatkit import threads
from agentstate.models import AgentAttachment, Project
from agentstate.models.fields import possible_id
from agentstate.recording.storable import storable

if TYPE_CHECKING:
    from django.core.files.base import File
    from django.db.models import QuerySet

    from agentstate.integrations.chatkit.context import ChatContext

FOLDER = "chatkit"
LARGEST = 10 * 1024 * 1024  # bytes


class AttachmentNotFound(LookupError):
    """The user has no such attachment in the project."""


class AttachmentRefused(Exception):
    """The attachment is not taken; the text is for the user.

    Attributes:
        status: the HTTP status that says so.
    """

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def check_size(size: int, largest: int) -> None:
    """Raise AttachmentRefused for a file that is too large."""
    if size > largest:
        raise AttachmentRefused(f"The file is too large: the limit is {filesizeformat(largest)}.", status=413)


def save(context: ChatContext, attachment_id: str, data: dict[str, Any], thread_id: str | None) -> None:
    """Insert an attachment, or replace what is stored of it.

    Raises:
        AttachmentNotFound: it is another user's, or there is no such project.
        ThreadNotFound: the user has no such thread.
    """
    if thread_id is not None:
        threads.require(context, thread_id)
    if not Project.objects.filter(pk=context.project_id).exists():
        raise AttachmentNotFound(attachment_id)
    stored = {"data": json.loads(storable(data)), "session_id": thread_id}
    row, is_new = AgentAttachment.objects.get_or_create(
        pk=attachment_id,
        defaults={
            **stored,
            "project_id": context.project_id,
            "user_id": context.user_id,
            "size": 0,
            "created_at": timezone.now(),
        },
    )
    if not is_new and not _of(context, row.pk).update(**stored):
        raise AttachmentNotFound(attachment_id)


def load(context: ChatContext, attachment_id: str) -> AgentAttachment:
    """Return the row of one of the user's attachments.

    Raises:
        AttachmentNotFound: it is not the user's, or there is none.
    """
    row = _of(context, attachment_id).first()
    if row is None:
        raise AttachmentNotFound(attachment_id)
    return row


def store(context: ChatContext, attachment_id: str, upload: File[bytes]) -> AgentAttachment:
    """Store the bytes of an attachment, once.

    Raises:
        AttachmentNotFound: it is not the user's, or there is none.
        AttachmentRefused: it has its bytes already.
    """
    row = load(context, attachment_id)
    # Not the user's name for it: a server may derive a media type from that.
    name = default_storage.save(f"{FOLDER}/{row.pk}", upload)
    row.data["upload_descriptor"] = None
    changes = {"file": name, "size": upload.size, "data": row.data}
    if not _of(context, attachment_id).filter(file=None).update(**changes):
        default_storage.delete(name)
        raise AttachmentRefused("This file has been uploaded already.", status=409)
    row.file = name
    return row


def content(attachment_id: str) -> bytes | None:
    """Return the bytes of an attachment that its user was shown or sent, None where they were never uploaded."""
    name = AgentAttachment.objects.filter(pk=attachment_id).values_list("file", flat=True).first()
    if name is None:
        return None
    with default_storage.open(name) as file:
        read: bytes = file.read()
    return read


def delete(context: ChatContext, attachment_id: str) -> None:
    """Delete an attachment and its bytes.

    Raises:
        AttachmentNotFound: it is not the user's, or there is none.
    """
    _delete(load(context, attachment_id))


def delete_sent_in(thread_id: str) -> None:
    """Delete the attachments of a thread."""
    for row in AgentAttachment.objects.filter(session=thread_id):
        _delete(row)


def delete_orphaned_attachments(unsent_for: timedelta = timedelta(days=1)) -> int:
    """Delete attachments whose project or thread was deleted, and those that were never sent; return their number.

    The database deletes no files. Call this once a day.

    Args:
        unsent_for: leave alone what a user may still send.
    """
    unsent = Q(session=None, created_at__lt=timezone.now() - unsent_for)
    rows = AgentAttachment.objects.filter(Q(project=None) | unsent)
    return sum(_delete(row) for row in rows.iterator())


def _of(context: ChatContext, attachment_id: str) -> QuerySet[AgentAttachment]:
    return AgentAttachment.objects.filter(
        pk=possible_id(attachment_id), project=context.project_id, user_id=context.user_id
    )


def _delete(row: AgentAttachment) -> int:
    # The file first: without its row, nothing would name it.
    if row.file is not None:
        default_storage.delete(row.file)
    count, _ = row.delete()
    return count
