"""Find out quickly whether the server of a published file responds."""

from http.client import HTTPException
from threading import Thread
from typing import Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

MAX_SECONDS: Final = 10.0


def is_reachable(address: str, *, seconds: float = MAX_SECONDS) -> bool:
    """Return whether the server at ``address`` responds within ``seconds``, even if it responds with an error.

    The time limit includes name resolution, for which no time-out can be set. The proxy settings of the environment are
    used.

    Args:
        address: URL that starts with ``https://`` (or, on this machine, ``http://``).
        seconds: Maximum waiting time in seconds.
    """
    responses: list[bool] = []

    def request() -> None:
        try:
            with urlopen(Request(address, method="HEAD"), timeout=seconds):  # noqa: S310 - the scheme is known
                responses.append(True)
        except HTTPError:
            responses.append(True)
        except (OSError, ValueError, HTTPException):
            responses.append(False)

    thread = Thread(target=request, daemon=True)  # a daemon, because name resolution cannot be interrupted
    thread.start()
    thread.join(seconds)
    return responses == [True]
