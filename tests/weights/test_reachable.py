"""Whether a server responds in time, with servers on this machine."""

import socket
import time

import pytest

from maskwright.weights.reachable import is_reachable
from tests.weights.server import Response, serving


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("status", [200, 404, 503])
def test_server_that_responds_is_reachable(status):
    with serving(b"", Response(status=status)) as server:
        assert is_reachable(f"{server.address}weights.h5", seconds=5)
    assert len(server.requests) == 1


def test_server_that_stalls_is_not_reachable_in_time():
    with serving(b"", Response(stall=True)) as server:
        started = time.monotonic()
        assert not is_reachable(server.address, seconds=0.2)
        assert 0.1 < time.monotonic() - started < 3


def test_closed_port_is_not_reachable():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    assert not is_reachable(address, seconds=5)


@pytest.mark.parametrize("address", ["nowhere", "http://[::1", "http://127.0.0.1:99999/"])
def test_invalid_address_is_not_reachable(address):
    assert not is_reachable(address, seconds=5)


def test_slow_name_resolution_is_cut_off(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(1) or [])
    started = time.monotonic()
    assert not is_reachable("http://localhost/", seconds=0.1)
    assert time.monotonic() - started < 0.8
