"""What the model is given of a thread's items."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

from chatkit.agents import ThreadItemConverter
from chatkit.errors import CustomStreamError
from chatkit.types import ImageAttachment
from openai.types.responses import ResponseInputFileParam, ResponseInputImageParam, ResponseInputTextParam
from openai.types.responses.response_input_item_param import Message

from agentstate.integrations.chatkit import files
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from agents import TResponseInputItem
    from chatkit.types import Attachment, ClientToolCallItem, UserMessageTagContent
    from openai.types.responses import ResponseInputContentParam


class RecordedConverter(ThreadItemConverter):
    """Converts what ChatKit's own converter leaves open: attachments, tags, and outputs of client tools.

    The memory has the bytes of attachments, in base64. Override :meth:`attachment_to_message_content` to send less.
    """

    async def attachment_to_message_content(self, attachment: Attachment) -> ResponseInputContentParam:
        content = await in_database_thread(files.content, attachment.id)
        if content is None:
            raise CustomStreamError(f"The file {attachment.name} has not been uploaded.")
        if attachment.mime_type.startswith("text/"):
            return _text(f"<File name={json.dumps(attachment.name)}>\n{content.decode(errors='replace')}\n</File>")
        url = f"data:{attachment.mime_type};base64,{b64encode(content).decode()}"
        if isinstance(attachment, ImageAttachment):
            return ResponseInputImageParam(type="input_image", detail="auto", image_url=url)
        return ResponseInputFileParam(type="input_file", filename=attachment.name, file_data=url)

    async def tag_to_message_content(self, tag: UserMessageTagContent) -> ResponseInputContentParam:
        return _text(json.dumps({"id": tag.id, "name": tag.text, **tag.data}))

    async def client_tool_call_to_input(
        self, item: ClientToolCallItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        """Return the output as a message: the memory has the call already, with what the server's tool returned."""
        if item.status == "pending":
            return None
        text = (
            f"The client ran the tool {item.name}, call {item.call_id}:\n"
            f"<ClientToolOutput>\n{json.dumps(item.output)}\n</ClientToolOutput>"
        )
        return Message(type="message", role="user", content=[_text(text)])


def _text(text: str) -> ResponseInputTextParam:
    return ResponseInputTextParam(type="input_text", text=text)
