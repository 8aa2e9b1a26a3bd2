"""Django views for ChatKit's client. Importing this imports no SDK."""

from __future__ import annotations

from binascii import Error as NoBase64
from functools import cache
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils.module_loading import import_string
from django.views.decorators.http import require_http_methods, require_POST

from agentstate.integrations.chatkit import files
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from django.http import HttpRequest

    from agentstate.integrations.chatkit.context import ChatContext
    from agentstate.integrations.chatkit.server import RecordedServer

    GetContext = Callable[[HttpRequest], ChatContext | Awaitable[ChatContext | None] | None]


def chatkit_view(server: RecordedServer | str, get_context: GetContext) -> Callable[..., Awaitable[HttpResponseBase]]:
    """Return the view for all requests of ChatKit's client.

    A request that is refused has a status and a reason: 400 for one that ChatKit does not know, 403 without a context,
    404 for what is not the user's, 501 for an answer under WSGI, which cannot stream it.

    Django's CSRF protection applies. Let the client's ``fetch`` send the header, or exempt the view where another
    header authenticates the user.

    A route's arguments are in ``request.resolver_match``, for ``get_context``.

    Args:
        server: the server, or the dotted path of one, which is imported by the first request.
        get_context: makes the context of a request, or None where it is not allowed; a function or a coroutine one.
    """

    @require_POST
    async def view(request: HttpRequest, **route: object) -> HttpResponseBase:
        context = await _context(get_context, request)
        if context is None:
            return _refusal("You are not allowed to chat here.", 403)
        return await _respond(request, _server(server), context)

    view.__name__ = "chatkit_view"
    return view


def attachment_view(get_context: GetContext, largest: int = files.LARGEST) -> Callable[..., HttpResponseBase]:
    """Return the view for the bytes of attachments: POST takes them as the file ``file``, GET returns them.

    Its route has the argument ``attachment_id``; see :class:`DjangoAttachments`. Only the attachment's user gets
    them, and browsers show only images.

    Args:
        largest: refuse files of more bytes; give :class:`DjangoAttachments` the same limit.
    """

    @require_http_methods(["GET", "HEAD", "POST"])
    def view(request: HttpRequest, attachment_id: str, **route: object) -> HttpResponseBase:
        context = async_to_sync(_context)(get_context, request)
        if context is None:
            return _refusal("You are not allowed to chat here.", 403)
        try:
            if request.method == "POST":
                return _take(request, context, attachment_id, largest)
            return _download(context, attachment_id)
        except files.AttachmentNotFound:
            return _refusal("There is no such attachment.", 404)
        except files.AttachmentRefused as error:
            return _refusal(str(error), error.status)

    view.__name__ = "attachment_view"
    return view


class EventStream(StreamingHttpResponse):
    """A stream of events that ends when Django stops reading it, not when Python collects it."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        # No proxy keeps parts of an answer back.
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, content_type="text/event-stream", headers=headers)
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in super().__aiter__():
                yield part
        finally:
            await self._events.aclose()


async def _respond(request: HttpRequest, server: RecordedServer, context: ChatContext) -> HttpResponseBase:
    from chatkit.server import StreamingResult
    from chatkit.store import NotFoundError
    from chatkit.types import is_streaming_req
    from pydantic import ValidationError

    try:
        parsed = server.parse(request.body)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f" {part}" for part in first["loc"])
        return _refusal(f"This is no request of ChatKit:{place}: {first['msg']}.", 400)
    if is_streaming_req(parsed) and not isinstance(request, ASGIRequest):
        return _refusal("Answers are streamed, which WSGI cannot do. Serve this site by ASGI.", 501)
    try:
        await server.check(parsed, context)
        result = await server.process(request.body, context)
    except NotFoundError:
        return _refusal("There is no such thread, item or attachment.", 404)
    except files.AttachmentRefused as error:
        return _refusal(str(error), error.status)
    except NoBase64:
        return _refusal("The speech is not in base64.", 400)
    except NotImplementedError:
        return _refusal(f"This server does not support {parsed.type}.", 501)
    if isinstance(result, StreamingResult):
        return EventStream(result.json_events)
    return HttpResponse(result.json, content_type="application/json")


def _take(request: HttpRequest, context: ChatContext, attachment_id: str, largest: int) -> HttpResponse:
    upload = request.FILES.get("file")
    if upload is None:
        return _refusal("The request has no file of the name file.", 400)
    files.check_size(upload.size or 0, largest)
    files.store(context, attachment_id, upload)
    return JsonResponse({})


def _download(context: ChatContext, attachment_id: str) -> HttpResponse:
    row = files.load(context, attachment_id)
    content = files.content(row.pk)
    if content is None:
        return _refusal("This file has not been uploaded.", 404)
    is_image = row.data["type"] == "image"
    return HttpResponse(
        content,
        content_type=row.data["mime_type"] if is_image else "application/octet-stream",
        headers={
            "Content-Disposition": "inline" if is_image else "attachment",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _context(get_context: GetContext, request: HttpRequest) -> ChatContext | None:
    if iscoroutinefunction(get_context):
        context: ChatContext | None = await get_context(request)
        return context
    return await in_database_thread(get_context, request)  # type: ignore[arg-type]


def _server(server: RecordedServer | str) -> RecordedServer:
    return _imported(server) if isinstance(server, str) else server


@cache
def _imported(path: str) -> Any:
    return import_string(path)


def _refusal(reason: str, status: int) -> JsonResponse:
    return JsonResponse({"error": reason}, status=status)
