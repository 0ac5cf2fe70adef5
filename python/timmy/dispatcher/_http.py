"""Which way a request goes: natively, or through httpx as the host has it.

Whatever stands between ``httpx.AsyncClient`` and the socket — a mock, a recorder, a tracer — must
see the requests. So at each request the functions on that way are looked at; if one is not its
makers', the request goes through httpx. httpx is never imported for that look.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, Literal, Self

from . import _core

Factory = Callable[..., Any]

_logger = logging.getLogger("timmy.dispatcher")
_chosen: str | Factory | None = None
_told: set[str] = set()

#: The functions between a call of the client and the socket: module, class, names.
_ON_THE_WAY = tuple(
    (package, class_name, tuple(names.split()))
    for package, class_name, names in (
        (
            "httpx",
            "AsyncClient",
            "__init__ __aenter__ __aexit__ get post request build_request send aclose"
            " _init_transport _init_proxy_transport _transport_for_url _send_handling_auth"
            " _send_handling_redirects _send_single_request _merge_url _merge_headers",
        ),
        (
            "httpx",
            "AsyncHTTPTransport",
            "__init__ __aenter__ __aexit__ handle_async_request aclose",
        ),
        ("httpx", "Request", "__init__"),
        ("httpx", "Response", "__init__ json aread"),
        ("httpcore", "AsyncConnectionPool", "__init__ handle_async_request create_connection"),
        ("httpcore", "AsyncHTTPConnection", "__init__ handle_async_request _connect"),
        ("httpcore", "AsyncHTTP11Connection", "__init__ handle_async_request"),
    )
)
#: Where the makers' own modules look these classes up: holder, package, class.
_LOOKED_UP = (
    ("httpx._client", "httpx", "AsyncHTTPTransport"),
    ("httpx._client", "httpx", "Request"),
    ("httpx._transports.default", "httpx", "Response"),
    ("httpcore._async.connection_pool", "httpcore", "AsyncHTTPConnection"),
    ("httpcore._async.connection", "httpcore", "AsyncHTTP11Connection"),
)


def use_http(way: Literal["auto", "native", "httpx"] | Factory) -> None:
    """Choose how requests are sent.

    Args:
        way: ``"auto"`` (the default: natively unless httpx was replaced), ``"native"``,
            ``"httpx"``, or a callable that makes a client: it is called with ``timeout=`` and
            returns an async context manager with httpx's ``get`` and ``post``.

    Raises:
        ValueError: Another string.
    """
    global _chosen  # noqa: PLW0603 — one choice for the process, as httpx is one module
    _chosen = _checked(way, "use_http")


def _checked(way: str | Factory, where: str) -> str | Factory:
    if callable(way) or way in {"auto", "native", "httpx"}:
        return way
    raise ValueError(f"{where}: {way!r} is not auto, native, httpx or a client factory")


def choose() -> Factory | None:
    """Return the factory of the client to drive, None for the native transport."""
    way = _chosen
    if way is None:
        # Asked before each request; what `os.environ` lacks it says by raising.
        way = _core.environment("TIMMY_DISPATCHER_HTTP") or "auto"
        way = _checked(way, "TIMMY_DISPATCHER_HTTP")
    if way == "native":
        return None
    if way == "httpx":
        return _httpx_client()
    if not isinstance(way, str):
        return way
    replaced = _replaced()
    if replaced is None:
        return None
    if replaced not in _told:
        _told.add(replaced)
        _logger.debug("Requests go through httpx: %s was replaced", replaced)
    return _httpx_client()


def for_helpers() -> Factory:
    """Return the factory for a replaced helper: httpx's client, or a stand-in without httpx."""
    try:
        return _httpx_client()
    except ImportError:
        return NativeClient


def addressed(
    client: Any, url: str, headers: dict[str, str] | None
) -> tuple[str, dict[str, str] | None]:
    """Return a URL without its user and password, and the header that says the same.

    httpx would send just that header, and write the whole URL to its log. Any other client gets
    what it was to get.
    """
    httpx = sys.modules.get("httpx")
    if httpx is None or type(client) is not httpx.AsyncClient:
        return url, headers
    parsed = httpx.URL(url)
    pair = f"{parsed.username}:{parsed.password}".encode()
    kept = {name: value for name, value in (headers or {}).items() if name != "Authorization"}
    basic = f"Basic {base64.b64encode(pair).decode()}"
    return str(parsed.copy_with(userinfo=b"")), {**kept, "Authorization": basic}


def _httpx_client() -> Factory:
    import httpx  # noqa: PLC0415 — optional, and slow to import

    return httpx.AsyncClient


#: What a look found to be the makers': module, name and class; class, name and code object.
_classes: tuple[tuple[Any, str, Any], ...] = ()
_functions: tuple[tuple[Any, str, Any], ...] = ()
#: Modules of the makers' that were not imported then.
_absent: tuple[str, ...] = ()
#: What a look found not to be the makers': its name, its package, the places that lead to it.
_stranger: tuple[str, str, tuple[tuple[Any, str, Any], ...]] | None = None


def _replaced() -> str | None:
    """Name the first thing on the way that is not its makers', None if all is."""
    httpx = sys.modules.get("httpx")
    if httpx is None:
        return None
    if _stranger is not None:
        told, package, places = _stranger
        for holder, name, found in places:
            if getattr(holder, name, None) is not found:
                break
        else:
            if places[0][0] is sys.modules.get(package):
                return told
    if _is_as_found(httpx):
        return None
    return _look()


def _is_as_found(httpx: Any) -> bool:
    # Asked before each request, so it only compares.
    if not _classes or _classes[0][0] is not httpx:
        return False
    for module, name, cls in _classes:
        if getattr(module, name, None) is not cls:
            return False
    for cls, name, code in _functions:
        function = getattr(cls, name, None)
        if type(function) is not FunctionType or function.__code__ is not code:
            return False
    return all(name not in sys.modules for name in _absent)


def _look() -> str | None:
    global _classes, _functions, _absent
    absent: list[str] = []
    classes: list[tuple[Any, str, Any]] = []
    functions: list[tuple[Any, str, Any]] = []
    for package, class_name, names in _ON_THE_WAY:
        module = sys.modules.get(package)
        if module is None:
            absent.append(package)
            continue
        cls = getattr(module, class_name, None)
        place = (module, class_name, cls)
        if not isinstance(cls, type):
            return _strange(package, f".{class_name}", place)
        directory = os.path.dirname(getattr(module, "__file__", None) or "")
        for name in names:
            function = getattr(cls, name, None)
            if function is None and name.startswith("_"):
                continue  # a private name of another version
            if not directory or not _made_in(function, directory):
                return _strange(package, f".{class_name}.{name}", place, (cls, name, function))
            functions.append((cls, name, function.__code__))  # type: ignore[union-attr]
        # A subclass that overrides none of these is still somebody else's.
        if not any(_made_in(value, directory) for value in vars(cls).values()):
            return _strange(package, f".{class_name}", place)
        classes.append(place)
    for holder, package, class_name in _LOOKED_UP:
        module = sys.modules.get(holder)
        if module is None:
            absent.append(holder)
            continue
        held = getattr(module, class_name, None)
        if held is None:
            continue  # looked up elsewhere in another version
        if held is not getattr(sys.modules.get(package), class_name, held):
            return _strange(holder, f".{class_name}", (module, class_name, held))
        classes.append((module, class_name, held))
    _classes, _functions, _absent = tuple(classes), tuple(functions), tuple(absent)
    return None


def _strange(package: str, name: str, *places: tuple[Any, str, Any]) -> str:
    global _stranger  # noqa: PLW0603 — one httpx for the process
    _stranger = package + name, package, places
    return package + name


def _made_in(function: object, directory: str) -> bool:
    # Judged by the code object: names are copied by functools.wraps.
    return type(function) is FunctionType and function.__code__.co_filename.startswith(
        directory + os.sep
    )


def own_json(cls: type) -> Any:
    """Return the ``json`` of a class if that is httpx's class of answers, as its makers made it."""
    httpx = sys.modules.get("httpx")
    if httpx is None or cls is not getattr(httpx, "Response", None):
        return None
    directory = os.path.dirname(getattr(httpx, "__file__", None) or "")
    function = getattr(cls, "json", None)
    return function if directory and _made_in(function, directory) else None


async def awaited(awaitable: Any) -> Any:
    """Await an object that only the interpreter knows how to await."""
    return await awaitable


class NativeResponse:
    """An answer of the native transport, with httpx's names."""

    def __init__(self, status_code: int, headers: list[tuple[str, str]], content: bytes) -> None:
        """Hold what was answered."""
        self.status_code = status_code
        self.headers = dict(headers)
        self.content = content

    @property
    def text(self) -> str:
        """The body as UTF-8 text."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body parsed as JSON."""
        return json.loads(self.content)


class NativeClient:
    """The part of httpx's client that dispatching uses, over the native transport."""

    def __init__(self, timeout: float = 15) -> None:
        """Limit each exchange to *timeout* seconds."""
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing: the connections are shared."""

    async def get(self, url: str, *, headers: dict[str, str] | None = None) -> NativeResponse:
        """Read *url*."""
        return await self._send("GET", url, headers, None)

    async def post(
        self, url: str, *, headers: dict[str, str] | None = None, json: Any = None
    ) -> NativeResponse:
        """Post a JSON document to *url*."""
        return await self._send("POST", url, headers, json)

    async def _send(
        self, method: str, url: str, headers: dict[str, str] | None, document: Any
    ) -> NativeResponse:
        body = None
        if document is not None:
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            body = text.encode("utf-8", "replace")
        authorization = (headers or {}).get("Authorization")
        flow = _core.request(method, url, authorization, body, float(self._timeout))
        return NativeResponse(*await flow)
