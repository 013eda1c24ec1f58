"""Download a file from a URL; an interrupted transfer is continued where it stopped."""

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

MAX_BYTES: Final = 2**30  # more than twice the size of the largest published file
CHUNK_BYTES: Final = 2**18
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that justify another attempt

Progress = Callable[[int, int | None], None]  # called with the bytes received, and the total if the server states it


class UnsafeAddress(InputError):
    """An address that does not use https."""

    text = "{address}: expected an https address."


class OversizedFile(InputError):
    """A file that is larger than any weights file."""

    text = "{address}: found {found:,} bytes or more; expected at most {expected:,}."


class Unreachable(Exception):
    """A failed transfer, with the reason as its text."""


class ConnectionLost(Unreachable):
    """A connection that was closed before the end of the transfer; another attempt may succeed."""


@dataclass(frozen=True)
class Patience:
    """Time-outs and number of attempts of a transfer.

    Attributes:
        silence: Number of seconds without data after which a connection is considered lost.
        attempts: Number of consecutive connections without new data after which the transfer fails.
        pause: Number of seconds before the next attempt, which is doubled after each attempt without new data.
    """

    silence: float = 30.0
    attempts: int = 5
    pause: float = 1.0


def transfer(address: str, part: Path, *, patience: Patience, progress: Progress) -> None:
    """Download the rest of the file at ``address`` to ``part``, or the whole file if it was changed on the server.

    The transfer is continued only if the ETag or the modification date is unchanged. This value is stored next to
    ``part``, so that another process can continue the transfer. The caller must verify the content.

    Raises:
        UnsafeAddress: The address or a redirection neither uses https nor refers to this machine.
        OversizedFile: The file is larger than `MAX_BYTES`.
        Unreachable: The server refuses the request, or all attempts failed.
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
            # A connection may fail at the same byte after every restart, so only new bytes count as progress.
            idle = idle + 1 if _size(part) <= furthest else 0
            furthest = max(furthest, _size(part))
            if idle >= patience.attempts:
                raise Unreachable(f"{lost}, {idle} times in a row") from lost
            time.sleep(patience.pause * 2**idle)


def discard(part: Path) -> None:
    """Delete ``part`` and its stored validator."""
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _receive(address: str, part: Path, *, silence: float, progress: Progress) -> None:
    validator_file = _validator_file(part)
    request = Request(address, headers={"User-Agent": "maskwright"})  # noqa: S310 - the scheme was checked
    if (offset := _size(part)) and validator_file.is_file():
        request.add_header("Range", f"bytes={offset}-")
        request.add_header("If-Range", validator_file.read_text(encoding="ascii"))
    with _open(request, part, silence=silence) as response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            offset = 0
            discard(part)
            if (validator := _validator(response)) is not None:
                validator_file.write_text(validator, encoding="ascii")
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            discard(part)
            raise ConnectionLost("the server sent a different part of the file than requested")
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
            is_transient = error.code in TRANSIENT_STATUSES or error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            raise (ConnectionLost if is_transient else Unreachable)(
                f"the server returned {error.code} {error.reason}"
            ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        # A retry within seconds does not help after a failed name resolution or an invalid certificate.
        is_permanent = isinstance(reason, gaierror | ssl.SSLCertVerificationError)
        raise (Unreachable if is_permanent else ConnectionLost)(_reason(reason)) from error


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionLost(_reason(error)) from error


def _reason(reason: object) -> str:
    return str(reason) or type(reason).__name__


def _validator(response: http.client.HTTPResponse) -> str | None:
    etag = response.headers.get("ETag")
    # A weak ETag does not guarantee identical bytes.
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _check_size(address: str, size: int) -> None:
    if size > MAX_BYTES:
        raise OversizedFile(address=address, found=size, expected=MAX_BYTES)


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
