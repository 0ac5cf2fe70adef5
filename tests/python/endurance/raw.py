"""A server made of a function over a bare socket, for answers that no library would give."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Self

CHUNK = b"x" * 65536


class Connection:
    """One connection, and the requests that come over it."""

    def __init__(self, server: "Raw", stream: socket.socket, number: int) -> None:
        self.server = server
        self.stream = stream
        #: The how-manieth connection of the server it is, from 0 on.
        self.number = number

    def request(self) -> tuple[str, str] | None:
        """Read a request to its end; its method and path, or None where no more comes."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = self.stream.recv(65536)
            if not more:
                return None
            head += more
        head, _, body = head.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length: ")
        missing = int(length.split(b"\r\n")[0]) - len(body) if length else 0
        while missing > 0:
            body += self.stream.recv(missing)
            missing = int(length.split(b"\r\n")[0]) - len(body)
        method, path, _ = head.decode().split(" ", 2)
        self.server.requests.append((method, path))
        self.server.heads.append(head.decode())
        self.server.bodies.append(body.decode())
        self.server.carriers.append(self.number)
        return method, path

    def send(self, data: bytes) -> None:
        """Send bytes as they stand."""
        self.stream.sendall(data)

    def answer(self, status: int, body: bytes = b"", *headers: str) -> None:
        """Send a proper answer."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def wait_for_end(self) -> None:
        """Read until the other side is gone."""
        while self.stream.recv(65536):
            pass

    def reset(self) -> None:
        """Make the end of this connection an RST."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Raw:
    """The server: a thread for each connection, which runs the function and then closes."""

    def __init__(
        self, serve: Callable[[Connection], None], context: ssl.SSLContext | None = None
    ) -> None:
        self._serve = serve
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        #: Method and path of every request, its head, its body, and the connection it came over.
        self.requests: list[tuple[str, str]] = []
        self.heads: list[str] = []
        self.bodies: list[str] = []
        self.carriers: list[int] = []
        self.accepted = 0
        self._streams: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listening.accept()
            except OSError:
                return
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._streams.append(stream)
            # Counted before it is answered, for who is answered may look.
            self.accepted += 1
            self._start(self._connection, stream, self.accepted - 1)

    def _connection(self, stream: socket.socket, number: int) -> None:
        try:
            if self._context is not None:
                stream = self._context.wrap_socket(stream, server_side=True)
                self._streams.append(stream)
            self._serve(Connection(self, stream, number))
        except OSError:
            pass  # the other side went away, as it may
        finally:
            stream.close()
