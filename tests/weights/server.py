"""HTTP server on this machine with scripted failures, for tests of downloads."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from maskwright.weights.catalogue import PublishedFile
from maskwright.weights.http_transfer import Patience

SHORT_PATIENCE = Patience(silence=5, attempts=3, pause=0)


@dataclass(frozen=True)
class Response:
    """Response to one request; by default the complete content.

    Attributes:
        status: HTTP status.
        content: Replaces the content of the server.
        send: Number of bytes after which the connection is closed.
        stall: Keep the connection open without sending more, instead of closing it; for HEAD, without a status.
        pieces: Number of writes of the body.
        ranges: Whether Range headers are supported.
        etag: ETag header, or None for none.
        announce_length: Whether the response has a Content-Length header.
        headers: Further headers.
    """

    status: int = 200
    content: bytes | None = None
    send: int | None = None
    stall: bool = False
    pieces: int = 1
    ranges: bool = True
    etag: str | None = '"first"'
    announce_length: bool = True
    headers: dict[str, str] = field(default_factory=dict)


class Server:
    """Content, scripted responses, of which the last is repeated, and the headers of all requests."""

    def __init__(self, content: bytes, *responses: Response) -> None:
        self.content = content
        self.responses = list(responses or [Response()])
        self.requests: list[dict[str, str]] = []
        self.released = Event()  # ends stalled responses
        self.address = ""

    def next_response(self, headers: dict[str, str]) -> Response:
        self.requests.append(headers)
        return self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]

    @property
    def ranges(self) -> list[str | None]:
        """Range header of each request."""
        return [headers.get("Range") for headers in self.requests]

    def file(self, name: str = "weights.h5", *, digest: str | None = None, algorithm: str = "md5") -> PublishedFile:
        """Return a catalogue entry for this server, by default with the digest of the content."""
        content_digest = hashlib.new(algorithm, self.content).hexdigest()
        return PublishedFile(name, self.address, algorithm, digest or content_digest, classes=1000)


@contextmanager
def serving(content: bytes, *responses: Response) -> Iterator[Server]:
    server = Server(content, *responses)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Do not log."""

        def do_HEAD(self) -> None:
            response = server.next_response(dict(self.headers))
            if response.stall:
                server.released.wait()
            self.send_response(response.status)
            self.end_headers()

        def do_GET(self) -> None:
            response = server.next_response(dict(self.headers))
            body = server.content if response.content is None else response.content
            start = self.start_of_range(response)
            if start is not None and start >= len(body):
                self.send_error(416)
                return
            self.send_response(response.status if start is None else 206)
            for name, value in response.headers.items():
                self.send_header(name, value)
            if response.etag:
                self.send_header("ETag", response.etag)
            if start is not None and "Content-Range" not in response.headers:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            body = body[start or 0 :]
            if response.announce_length and "Content-Length" not in response.headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            body = body[: response.send]
            size = -(-len(body) // response.pieces) or 1
            for first in range(0, len(body), size):
                self.wfile.write(body[first : first + size])
                self.wfile.flush()
            if response.stall:
                server.released.wait()

        def start_of_range(self, response: Response) -> int | None:
            value = self.headers.get("Range")
            is_same = response.etag is not None and self.headers.get("If-Range") == response.etag
            return (
                int(value.removeprefix("bytes=").removesuffix("-")) if value and response.ranges and is_same else None
            )

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        http.block_on_close = False
        server.address = f"http://127.0.0.1:{http.server_port}/"
        Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server
        finally:
            server.released.set()
            http.shutdown()
