"""A dashboard's page with a create-task modal, as small as it can be: `make preview` serves it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from timmy.dispatcher import AGENT_REGISTRY, TaskType, infer_task_type, select_agent
from timmy.dispatcher.web import preview_app

HERE = Path(__file__).parent
HTMX = HERE.parent / "node_modules/htmx.org/dist/htmx.min.js"
POLICY = b"default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"


def file(path: Path) -> Route:
    async def serve(request: Request) -> Response:
        return FileResponse(path, headers={"Cache-Control": "no-cache"})

    return Route(f"/{path.name}", serve)


async def index(request: Request) -> Response:
    return FileResponse(HERE / "index.html")


async def new_task(request: Request) -> Response:
    return FileResponse(HERE / "new_task.html")


async def create_task(request: Request) -> Response:
    form = parse_qs((await request.body()).decode(), keep_blank_values=True)
    title, description, assigned_to, preview = (
        form.get(name, [""])[0] for name in ("title", "description", "assigned_to", "task_type")
    )
    # What the page showed, if that is a type: the page may come from anywhere.
    shown = [known for known in TaskType if known == preview]
    task_type = shown[0] if shown else infer_task_type(title, description)
    agent = assigned_to or select_agent(task_type)
    names = {str(name): spec.display_name for name, spec in AGENT_REGISTRY.items()}
    row = f"<b>{escape(title)}</b><span>{task_type}</span><span>{escape(names.get(agent, agent))}"
    return HTMLResponse(f'<li data-preview="{escape(preview)}">{row}</span></li>\n')


class ContentSecurityPolicy:
    """Sends the policy that a page with WASM needs, where an answer has none of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                if b"content-security-policy" not in names:
                    message["headers"].append((b"content-security-policy", POLICY))
            await send(message)

        await self.app(scope, receive, send_with_policy)


app = Starlette(
    routes=[
        Route("/", index),
        Route("/tasks/new", new_task),
        Route("/tasks/create", create_task, methods=["POST"]),
        file(HERE / "style.css"),
        file(HERE / "page.js"),
        file(HTMX),
        Mount("/preview", preview_app()),
    ],
    middleware=[Middleware(ContentSecurityPolicy)],
)
