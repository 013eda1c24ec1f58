"""Downloads over failing connections, from a server on this machine."""

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskwright.weights import http_transfer as transfer_module
from maskwright.weights.download import (
    CacheUnusable,
    ChangedWeights,
    UnreachableWeights,
    WrongDigest,
    cache_folder,
    fetch,
    hidden_bars,
)
from maskwright.weights.http_transfer import OversizedFile, Patience, UnsafeAddress, transfer
from tests.weights.server import SHORT_PATIENCE, Response, serving

CONTENT = np.random.default_rng(3).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def downloads(monkeypatch):
    """Allow downloads, from this machine without a proxy."""
    monkeypatch.delenv("MASKWRIGHT_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_file_is_downloaded_once_and_its_sha256_stored(tmp_path, algorithm):
    with serving(CONTENT) as server:
        digest = {"md5": MD5, "sha256": SHA256[:8]}[algorithm]
        file = server.file(algorithm=algorithm, digest=digest)
        path = fetch(file, folder=tmp_path / "new")
        assert fetch(file, folder=tmp_path / "new") == path == tmp_path / "new" / "weights.h5"
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert (tmp_path / "new" / "weights.h5.sha256").read_text() == f"{SHA256}  weights.h5\n"
    assert not list(path.parent.glob("*.part*"))


def test_existing_file_with_the_digest_needs_no_server(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights.h5").write_bytes(CONTENT)
    with serving(CONTENT) as server:
        file = server.file()
    assert fetch(file).read_bytes() == CONTENT
    assert (tmp_path / "models" / "weights.h5.sha256").is_file()


def test_existing_file_is_used_even_if_its_digest_cannot_be_stored(tmp_path):
    (tmp_path / "weights.h5").write_bytes(CONTENT)
    (tmp_path / "weights.h5.sha256").mkdir()
    with serving(CONTENT) as server:
        file = server.file()
    assert fetch(file, folder=tmp_path).read_bytes() == CONTENT


def test_cache_folder_is_that_of_keras(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere" / "models"
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".keras" / "models"
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "nobody")
    assert cache_folder() == Path(tempfile.gettempdir()) / ".keras" / "models"


def test_damaged_file_in_the_cache_is_replaced(tmp_path):
    (tmp_path / "weights.h5").write_bytes(CONTENT[:1000])
    with serving(CONTENT) as server:
        assert fetch(server.file(), folder=tmp_path).read_bytes() == CONTENT


def test_interrupted_transfer_continues_at_the_same_byte(tmp_path):
    with serving(CONTENT, Response(send=100_000), Response(send=50_000), Response()) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert server.requests[1]["If-Range"] == '"first"'


def test_attempts_are_not_counted_while_bytes_arrive(tmp_path):
    with serving(CONTENT, Response(send=40_000)) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert len(server.requests) == 8 > SHORT_PATIENCE.attempts


def test_transfer_from_a_server_without_ranges_starts_again(tmp_path):
    with serving(CONTENT, Response(send=100_000), Response(ranges=False)) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_transfer_without_strong_etag_or_date_starts_again(tmp_path, etag):
    with serving(CONTENT, Response(send=100_000, etag=etag), Response()) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_transfer_without_etag_continues_by_date(tmp_path):
    date = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    with serving(CONTENT, Response(send=100_000, etag=None, headers=date), Response()) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert server.requests[1]["If-Range"] == date["Last-Modified"]


def test_transfer_of_a_changed_file_starts_again(tmp_path):
    with serving(CONTENT, Response(send=9_000, content=bytes(20_000)), Response(etag='"second"')) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=9000-"]


def test_transfer_with_a_wrong_range_starts_again(tmp_path):
    wrong_range = Response(headers={"Content-Range": "bytes 0-299999/300000"})
    with serving(CONTENT, Response(send=100_000), wrong_range, Response()) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", None]


def test_content_length_is_not_required(tmp_path):
    with serving(CONTENT, Response(announce_length=False)) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT


def test_transfer_continues_after_a_silent_connection(tmp_path):
    with serving(CONTENT, Response(send=100_000, stall=True), Response()) as server:
        path = fetch(server.file(), folder=tmp_path, patience=replace(SHORT_PATIENCE, silence=0.2))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_slow_transfer_is_not_interrupted(tmp_path):
    with serving(CONTENT, Response(pieces=300)) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_error_after_all_attempts_states_where_to_copy_the_file(tmp_path):
    with serving(CONTENT, Response(send=1000, ranges=False)) as server, pytest.raises(UnreachableWeights) as raised:
        fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE)
    assert len(server.requests) == 1 + SHORT_PATIENCE.attempts
    assert str(raised.value) == (
        f"{server.address}weights.h5: the download failed: the connection ended after 1,000 of 300,000 bytes, "
        f"3 times in a row. Without a network, copy the file to {tmp_path / 'weights.h5'}; "
        f"its MD5 is {MD5}."
    )


def test_missing_file_is_requested_once(tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"another")
    with serving(CONTENT, Response(status=404)) as server, pytest.raises(UnreachableWeights) as raised:
        fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE)
    assert len(server.requests) == 1
    existing = hashlib.md5(b"another", usedforsecurity=False).hexdigest()
    assert "404 Not Found" in str(raised.value)
    assert str(raised.value).endswith(f"its MD5 is {MD5}. The existing file has {existing}.")


def test_busy_server_is_requested_again(tmp_path):
    with serving(CONTENT, Response(status=503), Response()) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT


def test_failed_name_resolution_is_not_tried_again(tmp_path):
    with serving(CONTENT) as server:
        unknown_host = replace(server.file(), base="https://nowhere.invalid/")
    with pytest.raises(UnreachableWeights, match=r"^https://nowhere\.invalid/weights\.h5: .* copy the file to"):
        fetch(unknown_host, folder=tmp_path, patience=Patience(pause=1e6))


def test_refused_connection_is_an_error(tmp_path):
    with serving(CONTENT) as server:
        file = server.file()
    with pytest.raises(UnreachableWeights, match=r"refused.*, 3 times in a row"):
        fetch(file, folder=tmp_path, patience=SHORT_PATIENCE)


def test_download_with_a_wrong_digest_is_deleted(tmp_path):
    with serving(bytes(5000)) as server, pytest.raises(WrongDigest) as raised:
        fetch(server.file(digest=MD5), folder=tmp_path, patience=SHORT_PATIENCE)
    found = hashlib.md5(bytes(5000), usedforsecurity=False).hexdigest()
    expected = f"found the MD5 {found}; expected {MD5}. The download was deleted; try again."
    assert str(raised.value) == f"{server.address}weights.h5: {expected}"
    assert len(server.requests) == 1
    assert not {"weights.h5", "weights.h5.part", "weights.h5.sha256"} & {path.name for path in tmp_path.iterdir()}


def test_damaged_partial_download_starts_again(tmp_path):
    (tmp_path / "weights.h5.part").write_bytes(bytes(1000))
    (tmp_path / "weights.h5.part.etag").write_text('"first"')
    with serving(CONTENT) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_partial_download_longer_than_the_file_starts_again(tmp_path):
    (tmp_path / "weights.h5.part").write_bytes(bytes(300_001))
    (tmp_path / "weights.h5.part.etag").write_text('"first"')
    with serving(CONTENT) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert server.ranges == ["bytes=300001-", None]


def test_file_that_differs_from_the_accepted_one_is_an_error(tmp_path):
    (tmp_path / "weights.h5.sha256").write_text(f"{SHA256}  weights.h5\n")
    other = bytes(5000)
    with serving(other) as server, pytest.raises(ChangedWeights) as raised:
        fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE)
    assert f"found the SHA-256 {hashlib.sha256(other).hexdigest()}; expected {SHA256}" in str(raised.value)
    assert str(tmp_path / "weights.h5.sha256") in str(raised.value)
    assert not (tmp_path / "weights.h5").exists()


def test_changed_file_with_the_published_digest_is_an_error(tmp_path):
    with serving(CONTENT) as server:
        file = server.file(digest=MD5[:1])  # one digit, so another content with the same digest is found quickly
        fetch(file, folder=tmp_path)
    forged = next(data for data in map(str.encode, map(str, range(1000))) if _md5(data).startswith(MD5[:1]))
    (tmp_path / "weights.h5").write_bytes(forged)
    with pytest.raises(ChangedWeights, match=rf"weights\.h5: found the SHA-256 {hashlib.sha256(forged).hexdigest()}"):
        fetch(file, folder=tmp_path)


def _md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("announce_length", [True, False])
def test_file_above_the_maximum_size_is_an_error(tmp_path, monkeypatch, announce_length):
    monkeypatch.setattr(transfer_module, "MAX_BYTES", 200_000)
    calls, part = [], tmp_path / "part"
    message = r"bytes or more; .* 200,000\.$"
    with (
        serving(CONTENT, Response(announce_length=announce_length)) as server,
        pytest.raises(OversizedFile, match=message),
    ):
        transfer(server.address, part, patience=SHORT_PATIENCE, progress=lambda *numbers: calls.append(numbers))
    assert bool(calls) is not announce_length
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["http://example.org/", "ftp://example.org/", "file:///etc/"])
def test_address_without_https_is_an_error(tmp_path, address):
    with serving(CONTENT) as server:
        file = replace(server.file(), base=address)
    with pytest.raises(UnsafeAddress, match=rf"^{address}weights\.h5: .* https "):
        fetch(file, folder=tmp_path)


@pytest.mark.parametrize("address", ["http://example.org/", "ftp://example.org/"])
def test_redirection_without_https_is_an_error(tmp_path, address):
    redirection = Response(status=302, headers={"Location": address})
    with serving(CONTENT, redirection) as server, pytest.raises(UnsafeAddress, match=rf"^{address}: .* https "):
        fetch(server.file(), folder=tmp_path)


def test_redirected_transfer_continues(tmp_path):
    with serving(CONTENT, Response(send=100_000), Response()) as files:
        redirection = Response(status=302, etag=None, headers={"Location": f"{files.address}elsewhere"})
        with serving(CONTENT, redirection) as server:
            assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert files.ranges == [None, "bytes=100000-"]


def test_folder_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "occupied").touch()
    with (
        serving(CONTENT) as server,
        pytest.raises(CacheUnusable, match=r"occupied/models/weights\.h5: .*KERAS_HO"),
    ):
        fetch(server.file(), folder=tmp_path / "occupied" / "models")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can write to all folders")
def test_files_of_a_read_only_folder_are_used(tmp_path):
    (tmp_path / "good.h5").write_bytes(CONTENT)
    tmp_path.chmod(0o500)
    with serving(CONTENT) as server:
        assert fetch(server.file("good.h5"), folder=tmp_path) == tmp_path / "good.h5"
        with pytest.raises(CacheUnusable, match=r"weights\.h5: .*Permission denied\. .*KERAS_HOME"):
            fetch(server.file(), folder=tmp_path)


@pytest.fixture
def full_disk():
    """Limit files to 50,000 bytes, as on a full disk."""
    resource = pytest.importorskip("resource", reason="file sizes can be limited on Unix only")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_an_error(tmp_path, full_disk):
    with (
        serving(CONTENT) as server,
        pytest.raises(CacheUnusable, match=r"weights\.h5: .*File too la"),
    ):
        fetch(server.file(), folder=tmp_path)
    assert not (tmp_path / "weights.h5").exists()


FETCH = """
import sys
from contextlib import nullcontext
from maskwright.weights import download
from maskwright.weights.catalogue import PublishedFile
from maskwright.weights.http_transfer import Patience

name, base, digest, folder = sys.argv[1:]
download._bar = lambda name: nullcontext(lambda done, total: print(done, flush=True))
print("ready", flush=True)
path = download.fetch(PublishedFile(name, base, "md5", digest, 1000), folder=folder, patience=Patience(pause=0))
print("fetched", path.stat().st_size)
"""


def start_fetch(file, folder):
    command = [sys.executable, "-c", FETCH, file.name, file.base, file.digest, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_one_of_two_processes_downloads(tmp_path):
    with serving(CONTENT, Response(send=100_000, stall=True), Response()) as server:
        processes = [start_fetch(server.file(), tmp_path) for _ in range(2)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        server.released.set()  # the stalled process continues; the other one waits
        for process in processes:
            assert process.communicate(timeout=60)[0].endswith("fetched 300000\n")
    assert server.ranges == [None, "bytes=100000-"]
    assert (tmp_path / "weights.h5").read_bytes() == CONTENT


def test_killed_download_continues_in_another_process(tmp_path):
    with serving(CONTENT, Response(send=200_000, stall=True), Response()) as server:
        with start_fetch(server.file(), tmp_path) as process:
            assert "200000\n" in iter(process.stdout.readline, "")
            process.kill()
        size = (tmp_path / "weights.h5.part").stat().st_size
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert size > 100_000  # bytes in a buffer were lost
    assert server.ranges == [None, f"bytes={size}-"]


@pytest.fixture
def no_locks(monkeypatch):
    """Refuse locks, as some network drives do."""

    def refuse(descriptor):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("maskwright.images.file_lock._lock", refuse)


def test_without_locks_the_partial_file_of_another_process_is_not_used(tmp_path, no_locks):
    others = {"weights.h5.part": b"partial", "weights.h5.part.etag": b'"first"'}
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
    with serving(CONTENT, Response(send=100_000), Response()) as server:
        assert fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]
    assert {name: (tmp_path / name).read_bytes() for name in others} == others
    assert {path.name for path in tmp_path.iterdir()} == {"weights.h5", "weights.h5.sha256", *others}


def test_without_locks_a_failed_download_leaves_no_files(tmp_path, no_locks):
    with serving(CONTENT, Response(send=1000, ranges=False)) as server, pytest.raises(UnreachableWeights):
        fetch(server.file(), folder=tmp_path, patience=SHORT_PATIENCE)
    assert not list(tmp_path.iterdir())


def test_progress_receives_transferred_and_total_bytes(tmp_path):
    calls = []
    with serving(CONTENT, Response(send=100_000), Response()) as server:
        transfer(
            server.file().address,
            tmp_path / "part",
            patience=SHORT_PATIENCE,
            progress=lambda done, total: calls.append((done, total)),
        )
    assert calls[0] == (0, 300_000)
    assert calls[-1] == (300_000, 300_000)
    assert calls == sorted(calls)


def test_no_progress_bar_without_a_terminal(tmp_path, capfd):
    with serving(CONTENT) as server:
        fetch(server.file(), folder=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_hidden_bars_are_not_drawn_on_a_terminal(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich draws as on a terminal
    with serving(CONTENT) as server:
        with hidden_bars():
            fetch(server.file("a.h5"), folder=tmp_path)
        assert capfd.readouterr() == ("", "")
        fetch(server.file("b.h5"), folder=tmp_path)
        assert "Downloading b.h5" in capfd.readouterr().err


def test_download_does_not_import_keras():
    code = "import sys, maskwright.weights.download; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "maskwright.weights.download" in loaded
    assert not {"keras", "tensorflow", "jax", "torch", "numpy"} & set(loaded)
