"""What the browser's tests load: the example, bare forms, and preview apps with something wrong."""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from timmy.dispatcher.web import preview_app

WEB = Path(__file__).parent.parent
sys.path.insert(0, str(WEB / "example"))

from app import app as example  # noqa: E402

FORM = """<!doctype html><html lang="en"><title>Form</title>
<script type="module" src="{app}/preview.js"></script>
<body><form method="post" action="/echo">
<label>Title <input name="title" value="{title}"></label>
<label>Description <textarea name="description" id="words">{description}</textarea></label>
<label>Agent <select name="assigned_to"><option value=""></option>
<option value="claude_code">Claude</option><option value="timmy">Timmy</option></select></label>
<task-type-preview name="task_type" for-title="title" for-description="words"
  for-agent="assigned_to"{attributes}></task-type-preview>
<button type="reset">Reset</button><button>Send</button></form></body></html>"""

RANKING = ("inference", "min-confidence", "below-confidence")

# Gives a page a clock of microseconds.
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


async def form(request: Request) -> Response:
    query = {"app": "/preview", "title": "", "description": ""} | dict(request.query_params)
    policy = query.pop("csp", None)
    ranking = [f' {name}="{escape(query.pop(name))}"' for name in RANKING if name in query]
    headers = ISOLATED | ({"Content-Security-Policy": policy} if policy else {})
    fields = {name: escape(value) for name, value in query.items()}
    page = FORM.format(attributes="".join(ranking), **fields)
    return HTMLResponse(page, headers=headers)


async def own_define(request: Request) -> Response:
    """The sources as the npm package has them, with the page's settings for all its elements."""
    settings = '{ inference: "ranked", minConfidence: "0.999", belowConfidence: "ask" }'
    module = f'import {{ define }} from "/web/src/element.js";\ndefine({settings});\n'
    return Response(module, media_type="text/javascript")


async def echo(request: Request) -> Response:
    return JSONResponse(parse_qsl((await request.body()).decode(), keep_blank_values=True))


def wrong_type(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_as_text(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["path"].endswith(".wasm"):
                kept = [(name, value) for name, value in message["headers"] if name != TYPE]
                message["headers"] = [*kept, (TYPE, b"text/plain")]
            await send(message)

        await app(scope, receive, send_as_text)

    return wrapped


TYPE = b"content-type"


def without_wasm(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith(".wasm"):
            await PlainTextResponse("Not Found", 404)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return wrapped


def slow(app: ASGIApp) -> ASGIApp:
    """Never answers a question about a review, until the browser gives it up."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/explain"):
            body = await receive()
            if b"Review" in body["body"]:
                await receive()
                return

            async def replay() -> Message:
                return body

            await app(scope, replay, send)
        else:
            await app(scope, receive, send)

    return without_wasm(wrapped)


def broken(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/explain"):
            await PlainTextResponse("Internal Server Error", 500)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return without_wasm(wrapped)


app = Starlette(
    routes=[
        Route("/form", form),
        Route("/echo", echo, methods=["POST"]),
        Route("/own/preview.js", own_define),
        Mount("/mime", wrong_type(preview_app())),
        Mount("/absent", without_wasm(preview_app())),
        Mount("/slow", slow(preview_app())),
        Mount("/broken", broken(preview_app())),
        Mount("/web", StaticFiles(directory=WEB)),
        Mount("/", example),
    ]
)
