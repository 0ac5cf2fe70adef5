"""The application: the built files, the module that starts them, and the answer without WASM."""

from __future__ import annotations

import gzip
import hashlib
import json
from functools import lru_cache
from importlib.resources import files
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from timmy import dispatcher

from ._preview import changed_routes, explanation, fragment, model, ranking, settings_of_ranking

#: Bytes of a form that are read; a longer one gets a 413.
MAX_BODY = 128 * 1024

_TYPES = {".js": "text/javascript; charset=utf-8", ".wasm": "application/wasm"}
_FOR_EVER = "public, max-age=31536000, immutable"
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def preview_app() -> Starlette:
    """Return an application to be mounted anywhere, which serves:

    ``preview.js``
        the module that a page loads; it defines ``<task-type-preview>``
    ``manifest.json``
        names, sizes and hashes of the built files
    ``model.bin``
        the model that this program ranks by, for elements with ``inference="ranked"``
    the built files
        by names that hold their hash, to be kept by a browser for ever
    ``explain``
        the preview of a posted form's ``title`` and ``description``, as JSON where the request
        accepts it, else as a piece of HTML; with the field ``inference=ranked`` the ranking too;
        it changes nothing
    """
    folder = files(__package__) / "static"
    manifest = (folder / "manifest.json").read_bytes()
    built = {name: entry["file"] for name, entry in json.loads(manifest).items()}
    assets = {file: (folder / file).read_bytes() for file in built.values()}

    async def serve_asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in assets:
            return PlainTextResponse("Not Found", 404, _SECURITY)
        media_type = _TYPES["." + name.rpartition(".")[2]]
        headers = _SECURITY | {"Cache-Control": _FOR_EVER}
        return Response(assets[name], headers=headers, media_type=media_type)

    async def serve_manifest(request: Request) -> Response:
        return _revalidated(request, manifest, "application/json")

    async def serve_entry(request: Request) -> Response:
        # Written anew each time: the routes of a running dispatcher can be changed.
        options = json.dumps({"routes": changed_routes(), **settings_of_ranking()})
        module = (
            f'import {{ define }} from "./{built["task-type-preview.js"]}";\n'
            'const fallback = new URL("explain", import.meta.url);\n'
            'const ranking = { model: new URL("model.bin", import.meta.url) };\n'
            f"define({{ fallback, ranking, ...{options} }});\n"
        )
        return _revalidated(request, module.encode(), _TYPES[".js"])

    async def serve_model(request: Request) -> Response:
        try:
            content = model()
        except ValueError as error:
            dispatcher.logger.warning("The preview cannot rank: %s", error)
            return PlainTextResponse("Not Found", 404, _SECURITY)
        answer = _revalidated(request, content, "application/octet-stream")
        if answer.status_code == 304 or "gzip" not in request.headers.get("Accept-Encoding", ""):
            return answer
        # Half a second's work, which the middleware would do for each.
        body = await run_in_threadpool(_compressed, content)
        headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        headers |= {name: answer.headers[name] for name in ("Cache-Control", "ETag")} | _SECURITY
        return Response(body, headers=headers, media_type=answer.media_type)

    return Starlette(
        routes=[
            Route("/preview.js", serve_entry),
            Route("/manifest.json", serve_manifest),
            Route("/model.bin", serve_model),
            Route("/explain", _explain, methods=["POST"]),
            Route("/{name}", serve_asset),
        ],
        middleware=[Middleware(GZipMiddleware)],
    )


@lru_cache(maxsize=1)
def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _revalidated(request: Request, content: bytes, media_type: str) -> Response:
    """Return what a browser asks for each time, and gets again only where it has changed."""
    etag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = _SECURITY | {"Cache-Control": "no-cache", "ETag": etag}
    if etag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)


async def _explain(request: Request) -> Response:
    headers = _SECURITY | {"Cache-Control": "no-store", "Vary": "Accept"}
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return PlainTextResponse("Content Too Large", 413, headers)
    try:
        form = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return PlainTextResponse("Bad Request: no urlencoded form", 400, headers)
    title, description, inference = (
        form.get(name, [""])[0] for name in ("title", "description", "inference")
    )
    if inference not in ("", "exact", "ranked"):
        unknown = f"Bad Request: unknown inference {inference!r}; known are exact, ranked"
        return PlainTextResponse(unknown, 400, headers)
    found = explanation(title, description)
    if inference == "ranked":
        try:
            found["ranking"] = ranking(title, description)
        except ValueError as error:
            dispatcher.logger.warning("The preview cannot rank: %s", error)
    if "application/json" in request.headers.get("Accept", ""):
        return JSONResponse(found, headers=headers)
    return Response(fragment(found), headers=headers, media_type="text/html")
