"""Downloads over connections that break, lie, stall and vanish, from a real server on this machine."""

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
)
from maskwright.weights.http_transfer import OversizedFile, Patience, UnsafeAddress, transfer
from tests.weights.server import HASTY, Answer, serving

CONTENT = np.random.default_rng(3).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def without_a_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_file_is_downloaded_once_and_its_sha256_noted(tmp_path, algorithm):
    with serving(CONTENT) as server:
        digest = {"md5": MD5, "sha256": SHA256[:8]}[algorithm]
        file = server.file(algorithm=algorithm, digest=digest)
        path = fetch(file, folder=tmp_path / "new")
        assert fetch(file, folder=tmp_path / "new") == path == tmp_path / "new" / "numbers.h5"
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert (tmp_path / "new" / "numbers.h5.sha256").read_text() == f"{SHA256}  numbers.h5\n"
    assert not list(path.parent.glob("*.part*"))


def test_a_good_file_of_another_library_needs_no_server(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "numbers.h5").write_bytes(CONTENT)
    with serving(CONTENT) as server:
        file = server.file()
    assert fetch(file).read_bytes() == CONTENT
    assert (tmp_path / "models" / "numbers.h5.sha256").is_file()


def test_a_good_file_is_used_where_its_digest_cannot_be_noted(tmp_path):
    (tmp_path / "numbers.h5").write_bytes(CONTENT)
    (tmp_path / "numbers.h5.sha256").mkdir()
    with serving(CONTENT) as server:
        file = server.file()
    assert fetch(file, folder=tmp_path).read_bytes() == CONTENT


def test_the_cache_is_in_the_home_directory_unless_the_environment_names_another(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere" / "models"
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".keras" / "models"
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "nobody")
    assert cache_folder() == Path(tempfile.gettempdir()) / ".keras" / "models"


def test_a_damaged_file_in_the_cache_is_replaced(tmp_path):
    (tmp_path / "numbers.h5").write_bytes(CONTENT[:1000])
    with serving(CONTENT) as server:
        assert fetch(server.file(), folder=tmp_path).read_bytes() == CONTENT


def test_connections_that_end_early_are_taken_up_where_they_ended(tmp_path):
    with serving(CONTENT, Answer(send=100_000), Answer(send=50_000), Answer()) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert server.asked[1]["If-Range"] == '"first"'


def test_more_cuts_than_attempts_do_no_harm_while_bytes_come(tmp_path):
    with serving(CONTENT, Answer(send=40_000)) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert len(server.asked) == 8 > HASTY.attempts


def test_a_server_without_ranges_is_asked_anew(tmp_path):
    with serving(CONTENT, Answer(send=100_000), Answer(ranges=False)) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_etag_or_a_date_nothing_is_joined(tmp_path, etag):
    with serving(CONTENT, Answer(send=100_000, etag=etag), Answer()) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_a_date_vouches_where_there_is_no_etag(tmp_path):
    date = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    with serving(CONTENT, Answer(send=100_000, etag=None, headers=date), Answer()) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert server.asked[1]["If-Range"] == date["Last-Modified"]


def test_a_file_that_changed_meanwhile_is_not_joined_to_its_old_beginning(tmp_path):
    with serving(CONTENT, Answer(send=9_000, content=bytes(20_000)), Answer(etag='"second"')) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=9000-"]


def test_another_range_than_asked_for_is_not_joined(tmp_path):
    lie = Answer(headers={"Content-Range": "bytes 0-299999/300000"})
    with serving(CONTENT, Answer(send=100_000), lie, Answer()) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", None]


def test_a_length_that_is_not_said_is_no_hindrance(tmp_path):
    with serving(CONTENT, Answer(announce=False)) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT


def test_a_server_that_falls_silent_is_left_and_asked_again(tmp_path):
    with serving(CONTENT, Answer(send=100_000, stall=True), Answer()) as server:
        path = fetch(server.file(), folder=tmp_path, patience=replace(HASTY, silence=0.2))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_a_slow_server_is_waited_for_while_bytes_trickle(tmp_path):
    with serving(CONTENT, Answer(pieces=300)) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_connection_that_always_drops_ends_in_a_way_out(tmp_path):
    with serving(CONTENT, Answer(send=1000, ranges=False)) as server, pytest.raises(UnreachableWeights) as raised:
        fetch(server.file(), folder=tmp_path, patience=HASTY)
    assert len(server.asked) == 1 + HASTY.attempts
    assert str(raised.value) == (
        f"{server.address}numbers.h5: the download failed: the connection ended after 1,000 of 300,000 bytes, "
        f"3 times in a row. Without a network, copy the file to {tmp_path / 'numbers.h5'}; "
        f"its MD5 is {MD5}."
    )


def test_a_vanished_file_is_asked_for_once(tmp_path):
    (tmp_path / "numbers.h5").write_bytes(b"another")
    with serving(CONTENT, Answer(status=404)) as server, pytest.raises(UnreachableWeights) as raised:
        fetch(server.file(), folder=tmp_path, patience=HASTY)
    assert len(server.asked) == 1
    there = hashlib.md5(b"another", usedforsecurity=False).hexdigest()
    assert "404 Not Found" in str(raised.value)
    assert str(raised.value).endswith(f"its MD5 is {MD5}. The existing file has {there}.")


def test_a_busy_server_is_asked_again(tmp_path):
    with serving(CONTENT, Answer(status=503), Answer()) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT


def test_without_a_network_there_is_one_error_and_no_waiting(tmp_path):
    with serving(CONTENT) as server:
        nowhere = replace(server.file(), base="https://nowhere.invalid/")
    with pytest.raises(UnreachableWeights, match=r"^https://nowhere\.invalid/numbers\.h5: .* copy the file to"):
        fetch(nowhere, folder=tmp_path, patience=Patience(pause=1e6))


def test_nobody_listening_is_no_network(tmp_path):
    with serving(CONTENT) as server:
        file = server.file()
    with pytest.raises(UnreachableWeights, match=r"refused.*, 3 times in a row"):
        fetch(file, folder=tmp_path, patience=HASTY)


def test_wrong_bytes_are_not_kept(tmp_path):
    with serving(bytes(5000)) as server, pytest.raises(WrongDigest) as raised:
        fetch(server.file(digest=MD5), folder=tmp_path, patience=HASTY)
    found = hashlib.md5(bytes(5000), usedforsecurity=False).hexdigest()
    expected = f"found the MD5 {found}; expected {MD5}. The download was deleted; try again."
    assert str(raised.value) == f"{server.address}numbers.h5: {expected}"
    assert len(server.asked) == 1
    assert not {"numbers.h5", "numbers.h5.part", "numbers.h5.sha256"} & {path.name for path in tmp_path.iterdir()}


def test_a_damaged_beginning_of_an_earlier_download_costs_only_a_second_one(tmp_path):
    (tmp_path / "numbers.h5.part").write_bytes(bytes(1000))
    (tmp_path / "numbers.h5.part.etag").write_text('"first"')
    with serving(CONTENT) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_a_beginning_longer_than_the_file_is_dropped(tmp_path):
    (tmp_path / "numbers.h5.part").write_bytes(bytes(300_001))
    (tmp_path / "numbers.h5.part.etag").write_text('"first"')
    with serving(CONTENT) as server:
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert server.ranges == ["bytes=300001-", None]


def test_a_file_that_differs_from_the_one_first_accepted_is_refused(tmp_path):
    (tmp_path / "numbers.h5.sha256").write_text(f"{SHA256}  numbers.h5\n")
    other = bytes(5000)
    with serving(other) as server, pytest.raises(ChangedWeights) as raised:
        fetch(server.file(), folder=tmp_path, patience=HASTY)
    assert f"found the SHA-256 {hashlib.sha256(other).hexdigest()}; expected {SHA256}" in str(raised.value)
    assert f"noted in {tmp_path / 'numbers.h5.sha256'}" in str(raised.value)
    assert not (tmp_path / "numbers.h5").exists()


def test_a_cached_file_that_changed_under_the_same_digest_is_refused(tmp_path):
    with serving(CONTENT) as server:
        file = server.file(digest=MD5[:1])  # one digit: a second content with the same is quickly found
        fetch(file, folder=tmp_path)
    forged = next(data for data in map(str.encode, map(str, range(1000))) if _md5(data).startswith(MD5[:1]))
    (tmp_path / "numbers.h5").write_bytes(forged)
    with pytest.raises(ChangedWeights, match=rf"numbers\.h5: found the SHA-256 {hashlib.sha256(forged).hexdigest()}"):
        fetch(file, folder=tmp_path)


def _md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("announced", [True, False])
def test_absurdly_many_bytes_are_refused_when_they_are_announced_or_when_they_come(tmp_path, monkeypatch, announced):
    monkeypatch.setattr(transfer_module, "MAX_BYTES", 200_000)
    told, part = [], tmp_path / "part"
    text = r"bytes or more; expected at most 200,000\.$"
    with serving(CONTENT, Answer(announce=announced)) as server, pytest.raises(OversizedFile, match=text):
        transfer(server.address, part, patience=HASTY, progress=lambda *numbers: told.append(numbers))
    assert bool(told) is not announced
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["http://example.org/", "ftp://example.org/", "file:///etc/"])
def test_only_https_is_asked(tmp_path, address):
    with serving(CONTENT) as server:
        file = replace(server.file(), base=address)
    with pytest.raises(UnsafeAddress, match=rf"^{address}numbers\.h5: expected an https address\.$"):
        fetch(file, folder=tmp_path)


@pytest.mark.parametrize("address", ["http://example.org/", "ftp://example.org/"])
def test_only_https_is_followed(tmp_path, address):
    astray = Answer(status=302, headers={"Location": address})
    with serving(CONTENT, astray) as server, pytest.raises(UnsafeAddress, match=rf"^{address}: expected an https ad"):
        fetch(server.file(), folder=tmp_path)


def test_a_redirection_on_this_machine_is_followed_and_resumed(tmp_path):
    with serving(CONTENT, Answer(send=100_000), Answer()) as files:
        there = Answer(status=302, etag=None, headers={"Location": f"{files.address}elsewhere"})
        with serving(CONTENT, there) as server:
            assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert files.ranges == [None, "bytes=100000-"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "occupied").touch()
    with (
        serving(CONTENT) as server,
        pytest.raises(CacheUnusable, match=r"occupied/models/numbers\.h5: .*KERAS_HO"),
    ):
        fetch(server.file(), folder=tmp_path / "occupied" / "models")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write in every folder")
def test_a_folder_one_may_not_write_in_gives_but_takes_not(tmp_path):
    (tmp_path / "good.h5").write_bytes(CONTENT)
    tmp_path.chmod(0o500)
    with serving(CONTENT) as server:
        assert fetch(server.file("good.h5"), folder=tmp_path) == tmp_path / "good.h5"
        with pytest.raises(CacheUnusable, match=r"numbers\.h5: .*Permission denied\. .*KERAS_HOME"):
            fetch(server.file(), folder=tmp_path)


@pytest.fixture
def no_room():
    """Files may grow to 50,000 bytes and no further, as on a disk that fills."""
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_is_one_error(tmp_path, no_room):
    with (
        serving(CONTENT) as server,
        pytest.raises(CacheUnusable, match=r"numbers\.h5: .*File too la"),
    ):
        fetch(server.file(), folder=tmp_path)
    assert not (tmp_path / "numbers.h5").exists()


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


def process_that_fetches(file, folder):
    command = [sys.executable, "-c", FETCH, file.name, file.base, file.digest, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_that_start_at_once_one_downloads(tmp_path):
    with serving(CONTENT, Answer(send=100_000, stall=True), Answer()) as server:
        processes = [process_that_fetches(server.file(), tmp_path) for _ in range(2)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        server.released.set()  # the first connection ends; whoever had it goes on, and the other waits
        for process in processes:
            assert process.communicate(timeout=60)[0].endswith("fetched 300000\n")
    assert server.ranges == [None, "bytes=100000-"]
    assert (tmp_path / "numbers.h5").read_bytes() == CONTENT


def test_a_killed_download_goes_on_in_the_next_process(tmp_path):
    with serving(CONTENT, Answer(send=200_000, stall=True), Answer()) as server:
        with process_that_fetches(server.file(), tmp_path) as process:
            assert "200000\n" in iter(process.stdout.readline, "")
            process.kill()
        kept = (tmp_path / "numbers.h5.part").stat().st_size
        assert fetch(server.file(), folder=tmp_path, patience=HASTY).read_bytes() == CONTENT
    assert kept > 100_000  # what lay in a buffer went with the process
    assert server.ranges == [None, f"bytes={kept}-"]


def test_progress_tells_the_bytes_there_and_in_all(tmp_path):
    told = []
    with serving(CONTENT, Answer(send=100_000), Answer()) as server:
        transfer(
            server.file().address,
            tmp_path / "part",
            patience=HASTY,
            progress=lambda done, total: told.append((done, total)),
        )
    assert told[0] == (0, 300_000)
    assert told[-1] == (300_000, 300_000)
    assert told == sorted(told)


def test_nothing_is_written_to_a_stream_that_is_no_terminal(tmp_path, capfd):
    with serving(CONTENT) as server:
        fetch(server.file(), folder=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_downloading_needs_no_keras():
    code = "import sys, maskwright.weights.download; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "maskwright.weights.download" in loaded
    assert not {"keras", "tensorflow", "jax", "torch", "numpy"} & set(loaded)
