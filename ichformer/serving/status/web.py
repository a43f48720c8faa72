"""The web application of a node: its page, health and metrics. Nothing can be changed through it."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ichformer.serving.audit_log import AuditLog
from ichformer.serving.queue.database import Queue
from ichformer.serving.status.metrics import metrics_text
from ichformer.serving.status.page import render_status, status_json
from ichformer.serving.status.values import read_status

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}


def application(
    queue: Queue,
    log: AuditLog,
    *,
    run: str,
    aet: str,
    associations: Callable[[], int],
    is_ready: Callable[[], bool],
    hosts: list[str],
) -> Starlette:
    """The ASGI application.

    Args:
      queue, log: of the node.
      run: name of the model.
      aet: AE title.
      associations: counts those that are open.
      is_ready: whether studies can be scored.
      hosts: names under which the node is asked; others are refused, as a page in somebody's browser may use them.
    """

    async def page(_: Request) -> Response:
        """The page for people."""

        def made() -> str:
            """The page as it is now."""
            return render_status(read_status(queue), is_ready=is_ready(), run=run, aet=aet, associations=associations())

        return HTMLResponse(await run_in_threadpool(made), headers=_HEADERS)

    async def health(_: Request) -> Response:
        """The state as JSON, with code 503 as long as no study can be scored."""
        status, ready = await run_in_threadpool(read_status, queue), is_ready()
        return JSONResponse(status_json(status, is_ready=ready), status_code=200 if ready else 503, headers=_HEADERS)

    async def metrics(_: Request) -> Response:
        """The figures for Prometheus."""
        text = await run_in_threadpool(metrics_text, queue, associations=associations(), is_ready=is_ready())
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8", headers=_HEADERS)

    routes: list[tuple[str, Callable[[Request], Awaitable[Response]]]] = [
        ("/", page),
        ("/health", health),
        ("/metrics", metrics),
    ]

    def failed(_: Request, error: Exception) -> Response:
        log.say("web_failed", error=type(error).__name__)
        return Response("a fault of the node\n", status_code=500, headers=_HEADERS)

    return Starlette(
        exception_handlers={Exception: failed},
        routes=[Route(path, answer, methods=["GET"]) for path, answer in routes],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
    )
