"""A server whose first path segment says how long it keeps a request busy.

``/waiting-7/…`` is never answered, ``/dripping-7/…`` gets its body by the byte, ``/refusing-7/…``
is asked to come back in half a minute, ``/open-7/…`` is an issue that stays open, ``/later-7/…`` is
answered when the test says so. What follows the hyphen tells the programs apart.
``/seen/waiting-7/3`` is answered once three requests have come that begin with ``/waiting-7/``: so
a program knows how far it is.
"""

import asyncio
import socket
import threading
from collections import Counter
from typing import Self

OPEN = b'{"number":1,"state":"open"}'


def answer(status: str, body: bytes, *headers: str) -> bytes:
    """An answer that keeps the connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Endless:
    """The server, in a thread of its own."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._seen: Counter[str] = Counter()
        self._connections: set[asyncio.Task] = set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,))
        self._thread.start()
        ready.wait()
        self._full = full_socket()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        for opened in self._full:
            opened.close()

    @property
    def url(self) -> str:
        """Where requests are answered."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def full_port(self) -> int:
        """Where nobody accepts a connection any more."""
        return self._full[0].getsockname()[1]

    @property
    def open_connections(self) -> int:
        """How many connections the server has at this moment."""
        return len(self._connections)

    def seen(self, key: str) -> int:
        """How many requests came under a key."""
        return self._seen[key]

    def forget(self) -> None:
        """Count the requests anew."""
        self._seen.clear()

    def answer_later(self) -> None:
        """Answer what waits under ``/later-…``."""
        self._loop.call_soon_threadsafe(self._later.set)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        self._later = asyncio.Event()
        self._arrived = asyncio.Condition()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connections.add(task)
        try:
            while await self._request(reader, writer):
                pass
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # the other side is gone, or the test is over
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        _, _, length = head.lower().partition("content-length: ")
        if length:
            await reader.readexactly(int(length.split("\r\n")[0]))
        segments = head.split(" ")[1].split("/")
        key = segments[1]
        if key == "seen":
            async with self._arrived:
                await self._arrived.wait_for(lambda: self._seen[segments[2]] >= int(segments[3]))
            writer.write(answer("200 OK", b""))
            return True
        phase = key.split("-")[0]
        if phase == "open":
            writer.write(answer("200 OK", OPEN))
        elif phase == "refusing":
            writer.write(answer("503 Service Unavailable", b"", "Retry-After: 30"))
        elif phase == "dripping":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n[")
        async with self._arrived:
            self._seen[key] += 1
            self._arrived.notify_all()
        if phase == "later":
            await self._later.wait()
            writer.write(answer("200 OK", b"[]"))
            return True
        if phase in {"open", "refusing"}:
            return True
        gone = asyncio.ensure_future(reader.read(1))
        try:
            while not gone.done():
                if phase == "dripping":
                    writer.write(b" ")
                    await writer.drain()
                await asyncio.wait([gone], timeout=0.05)
            await gone
        finally:
            gone.cancel()
        return False


def full_socket() -> list[socket.socket]:
    """A listening socket that accepts nobody any more, and the connections that fill it."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    opened = [listening]
    while True:
        filling = socket.socket()
        opened.append(filling)
        filling.settimeout(0.2)
        try:
            filling.connect(listening.getsockname())
        except TimeoutError:
            return opened
