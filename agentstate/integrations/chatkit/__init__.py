"""Serve ChatKit from Django: threads, attachments and each answer's run in the database.

Needs the extra ``chatkit``. Each name is imported on first use: importing ChatKit takes about 4 s and 100 MB. The
views can be given their server by a dotted path, so a process that serves no chat never imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentstate.integrations.chatkit.attachments import DjangoAttachments
    from agentstate.integrations.chatkit.context import ChatContext
    from agentstate.integrations.chatkit.converter import RecordedConverter
    from agentstate.integrations.chatkit.files import AttachmentRefused, delete_orphaned_attachments
    from agentstate.integrations.chatkit.item_ids import unique_item_ids
    from agentstate.integrations.chatkit.server import RecordedServer
    from agentstate.integrations.chatkit.store import DjangoStore
    from agentstate.integrations.chatkit.views import attachment_view, chatkit_view

__all__ = [
    "AttachmentRefused",
    "ChatContext",
    "DjangoAttachments",
    "DjangoStore",
    "RecordedConverter",
    "RecordedServer",
    "attachment_view",
    "chatkit_view",
    "delete_orphaned_attachments",
    "unique_item_ids",
]

_MODULES = {
    "attachments": ["DjangoAttachments"],
    "context": ["ChatContext"],
    "converter": ["RecordedConverter"],
    "files": ["AttachmentRefused", "delete_orphaned_attachments"],
    "item_ids": ["unique_item_ids"],
    "server": ["RecordedServer"],
    "store": ["DjangoStore"],
    "views": ["attachment_view", "chatkit_view"],
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_MODULE_OF[name]}")
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] in ("agents", "chatkit", "openai"):
            raise ImportError(f"{name} needs ChatKit's server: pip install 'agentstate[chatkit]'.") from error
        raise
    return getattr(module, name)
