"""How a client attaches a file: ChatKit's request announces it, a second one uploads its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatkit.store import AttachmentStore
from chatkit.types import AttachmentUploadDescriptor, FileAttachment, ImageAttachment
from django.middleware.csrf import get_token
from django.urls import reverse
from pydantic import AnyUrl

from agentstate.integrations.chatkit import files
from agentstate.integrations.chatkit.context import ChatContext
from agentstate.integrations.chatkit.store import calling
from agentstate.models.fields import new_id

if TYPE_CHECKING:
    from chatkit.types import Attachment, AttachmentCreateParams

# What a browser shows as an image, and cannot run as a script.
IMAGES = {"image/gif", "image/jpeg", "image/png", "image/webp"}


class DjangoAttachments(AttachmentStore[ChatContext]):
    """Announces attachments, and names the view where their bytes go: ChatKit's ``two_phase`` upload.

    Args:
        url_name: the name of :func:`~agentstate.integrations.chatkit.attachment_view` in the URL configuration; its
            route has the argument ``attachment_id``, and those of the chat's own route.
        largest: refuse files of more bytes.
    """

    def __init__(self, url_name: str = "chatkit-attachment", largest: int = files.LARGEST) -> None:
        self.url_name = url_name
        self.largest = largest

    def generate_attachment_id(self, mime_type: str, context: ChatContext) -> str:
        return f"atc_{new_id()}"

    async def create_attachment(self, input: AttachmentCreateParams, context: ChatContext) -> Attachment:  # noqa: A002
        files.check_size(input.size, self.largest)
        if context.request is None:
            raise ValueError("An attachment's address needs the context's request.")
        attachment_id = self.generate_attachment_id(input.mime_type, context)
        route = context.request.resolver_match
        arguments = {**(route.kwargs if route else {}), "attachment_id": attachment_id}
        url = AnyUrl(context.request.build_absolute_uri(reverse(self.url_name, kwargs=arguments)))
        common: dict[str, Any] = {
            "id": attachment_id,
            "name": input.name,
            "mime_type": input.mime_type,
            "upload_descriptor": AttachmentUploadDescriptor(
                url=url, method="POST", headers={"X-CSRFToken": get_token(context.request)}
            ),
        }
        if input.mime_type in IMAGES:
            return ImageAttachment(preview_url=url, **common)
        return FileAttachment(**common)

    async def delete_attachment(self, attachment_id: str, context: ChatContext) -> None:
        """Check that it is the user's. The store deletes the bytes with the row."""
        await calling(files.load, context, attachment_id)
