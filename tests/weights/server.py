"""A server on this machine that answers badly on demand, so that downloads meet what they meet in the world."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from maskwright.weights.catalogue import PublishedFile
from maskwright.weights.http_transfer import Patience

HASTY = Patience(silence=5, attempts=3, pause=0)


@dataclass(frozen=True)
class Answer:
    """How one request is answered: in full and in order, unless a field says otherwise."""

    status: int = 200
    content: bytes | None = None  # instead of the server's
    send: int | None = None  # bytes of the body, then the connection closes
    stall: bool = False  # instead of closing, fall silent
    pieces: int = 1  # the body comes in so many
    ranges: bool = True  # whether a Range is heeded
    etag: str | None = '"first"'
    announce: bool = True  # whether the length is said
    headers: dict[str, str] = field(default_factory=dict)


class Server:
    """Answers each request with the next of ``answers``, the last again and again; remembers what was asked."""

    def __init__(self, content: bytes, *answers: Answer) -> None:
        self.content = content
        self.answers = list(answers or [Answer()])
        self.asked: list[dict[str, str]] = []
        self.released = Event()  # stalled answers go on
        self.address = ""

    def next_answer(self, headers: dict[str, str]) -> Answer:
        self.asked.append(headers)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request."""
        return [headers.get("Range") for headers in self.asked]

    def file(self, name: str = "numbers.h5", *, digest: str | None = None, algorithm: str = "md5") -> PublishedFile:
        """A row of the catalogue that leads here; its digest is that of the content."""
        right = hashlib.new(algorithm, self.content).hexdigest()
        return PublishedFile(name, self.address, algorithm, digest or right, classes=1000)


@contextmanager
def serving(content: bytes, *answers: Answer) -> Iterator[Server]:
    server = Server(content, *answers)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            answer = server.next_answer(dict(self.headers))
            body = server.content if answer.content is None else answer.content
            start = self.start_of_range(answer)
            if start is not None and start >= len(body):
                self.send_error(416)
                return
            self.send_response(answer.status if start is None else 206)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.etag:
                self.send_header("ETag", answer.etag)
            if start is not None and "Content-Range" not in answer.headers:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            body = body[start or 0 :]
            if answer.announce and "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            body = body[: answer.send]
            size = -(-len(body) // answer.pieces) or 1
            for first in range(0, len(body), size):
                self.wfile.write(body[first : first + size])
                self.wfile.flush()
            if answer.stall:
                server.released.wait()

        def start_of_range(self, answer: Answer) -> int | None:
            asked = self.headers.get("Range")
            same = answer.etag is not None and self.headers.get("If-Range") == answer.etag
            return int(asked.removeprefix("bytes=").removesuffix("-")) if asked and answer.ranges and same else None

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
