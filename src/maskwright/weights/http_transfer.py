"""One address into one file, over connections that break: each goes on where the last one ended."""

import http.client
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from socket import gaierror
from typing import IO, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from maskwright.errors import InputError

MOST_BYTES: Final = 2**30  # more than twice the largest published file
CHUNK_BYTES: Final = 2**18
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that another attempt may not meet

Progress = Callable[[int, int | None], None]  # bytes there, bytes in all where the server says


class UnsafeAddress(InputError):
    """An address that anyone on the way could answer."""

    text = "{address}: expected an https address."


class OversizedFile(InputError):
    """More bytes than any file of weights has."""

    text = "{address} sends {found:,} bytes or more; expected at most {expected:,}."


class Unreachable(Exception):
    """Why a file could not be had; its text is a phrase."""


class ConnectionLost(Unreachable):
    """A connection that ended before the file did: worth another."""


@dataclass(frozen=True)
class Patience:
    """How long a transfer goes on without news.

    Attributes:
        silence: Seconds without a byte after which a connection counts as lost.
        attempts: Connections in a row that bring nothing new, after which the file counts as unreachable.
        pause: Seconds before trying again; doubles after each attempt that brought nothing.
    """

    silence: float = 30.0
    attempts: int = 5
    pause: float = 1.0


def transfer(address: str, part: Path, *, patience: Patience, progress: Progress) -> None:
    """Append to ``part`` what it still lacks of the file at ``address``, or write it anew where that changed.

    Bytes are joined only while the server vouches, by ETag or date, that they are of the same file; the vouch is kept
    beside ``part``, so that another process can go on. Nothing is said of what the bytes are: check them.

    Raises:
        UnsafeAddress: the address, or one it leads to, is neither https nor on this machine.
        OversizedFile: there are more than `MOST_BYTES`.
        Unreachable: the server refuses, or ``patience`` ended.
        OSError: ``part`` cannot be written.
    """
    _check_address(address)
    furthest, idle = _size(part), 0
    while True:
        try:
            return _receive(address, part, silence=patience.silence, progress=progress)
        except OversizedFile:
            discard(part)
            raise
        except ConnectionLost as lost:
            # A server that always breaks at the same place starts over each time: only new ground is progress.
            idle = idle + 1 if _size(part) <= furthest else 0
            furthest = max(furthest, _size(part))
            if idle >= patience.attempts:
                raise Unreachable(f"{lost}, {idle} times in a row") from lost
            time.sleep(patience.pause * 2**idle)


def discard(part: Path) -> None:
    """Remove ``part`` and what vouches for it."""
    part.unlink(missing_ok=True)
    _vouch(part).unlink(missing_ok=True)


def _receive(address: str, part: Path, *, silence: float, progress: Progress) -> None:
    vouch = _vouch(part)
    request = Request(address, headers={"User-Agent": "maskwright"})  # noqa: S310 - the scheme was checked
    if (offset := _size(part)) and vouch.is_file():
        request.add_header("Range", f"bytes={offset}-")
        request.add_header("If-Range", vouch.read_text(encoding="ascii"))
    with _open(request, part, silence=silence) as response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            offset = 0
            discard(part)
            if (validator := _validator(response)) is not None:
                vouch.write_text(validator, encoding="ascii")
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            discard(part)
            raise ConnectionLost("the server sent another part of the file than it was asked for")
        total = None if response.length is None else offset + response.length
        _check_size(address, total or 0)
        progress(offset, total)
        with part.open("ab") as file:
            while chunk := _read(response):
                file.write(chunk)
                offset += len(chunk)
                _check_size(address, offset)
                progress(offset, total)
    if total is not None and offset < total:
        raise ConnectionLost(f"the connection ended after {offset:,} of {total:,} bytes")


def _open(request: Request, part: Path, *, silence: float) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = build_opener(_CheckedRedirects).open(request, timeout=silence)
        return response
    except HTTPError as error:
        with error:
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                discard(part)
            passing = error.code in PASSING or error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            raise (ConnectionLost if passing else Unreachable)(
                f"the server answered {error.code} {error.reason}"
            ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        # No name server and a wrong certificate stay so for the seconds that waiting could help.
        lasting = isinstance(reason, gaierror | ssl.SSLCertVerificationError)
        raise (Unreachable if lasting else ConnectionLost)(_phrase(reason)) from error


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionLost(_phrase(error)) from error


def _phrase(reason: object) -> str:
    return str(reason) or type(reason).__name__


def _validator(response: http.client.HTTPResponse) -> str | None:
    etag = response.headers.get("ETag")
    # A weak ETag vouches for the meaning, not the bytes.
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _vouch(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _check_size(address: str, size: int) -> None:
    if size > MOST_BYTES:
        raise OversizedFile(address=address, found=size, expected=MOST_BYTES)


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(parts.hostname or "")):
        raise UnsafeAddress(address=address)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _CheckedRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
