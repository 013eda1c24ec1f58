"""Files that are not complete images raise a single error, before memory is allocated."""

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.images.errors import (
    DamagedImage,
    ImageFault,
    ImageTooLarge,
    NotAnImage,
    UnreadableImage,
)
from maskwright.images.read import image_size, read_image, read_mask, read_mask_and_palette
from tests.images.painted import block, png_16, png_header, saved, smooth

READERS = [read_image, read_mask, read_mask_and_palette, image_size]


@pytest.fixture(params=READERS, ids=lambda reader: reader.__name__)
def reader(request):
    return request.param


def test_a_missing_file(tmp_path, reader):
    with pytest.raises(UnreadableImage, match=r"none\.png: found no such file; expected an image file"):
        reader(tmp_path / "none.png")
    with pytest.raises(UnreadableImage):
        reader("a\0.png")
    with pytest.raises(UnreadableImage, match=r"found File name too long; "):
        reader(tmp_path / ("n" * 300 + ".png"))
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UnreadableImage):
        reader(tmp_path / "file" / "a.png")


def test_a_folder(tmp_path, reader):
    with pytest.raises(NotAnImage, match=r"found a folder; expected an image file"):
        reader(tmp_path)


def test_an_empty_file(tmp_path, reader):
    (tmp_path / "a.png").touch()
    with pytest.raises(NotAnImage, match=r"a\.png: found an empty file; .*Copy or export it again"):
        reader(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"hello, I am text", b"%PDF-1.7", b"x", b"\0" * 100])
def test_another_format_with_an_image_suffix(tmp_path, reader, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(NotAnImage, match=r"a\.png: found a file that starts with b'.*expected a PNG, JPEG"):
        reader(tmp_path / "a.png")


def test_a_file_without_read_permission(tmp_path, reader, monkeypatch):
    path = saved(tmp_path / "a.png", smooth(3, 4))

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(UnreadableImage, match=r"a\.png: found Permission denied; expected a readable file"):
        reader(path)


def bmp(height: int, width: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)


def gif(height: int, width: int) -> bytes:
    return (
        b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2"
    )


def jpeg(height: int, width: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 1) + bytes((1, 0x11, 0))
    return (
        b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + b"\0" * 99
    )


def tiff(height: int, width: int) -> bytes:
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, 10)]
    rows = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + b"\0\0\0\0" + b"\0" * 10


def png(height: int, width: int) -> bytes:
    start = png_header(height, width, bits=8, kind="rgb")
    return start + block(b"IDAT", zlib.compress(b"\0" * 1000)) + block(b"IEND", b"")


@pytest.mark.parametrize("header", [png, jpeg, bmp, gif, tiff], ids=lambda header: header.__name__)
def test_a_header_of_too_many_pixels_is_an_error_before_decoding(tmp_path, reader, header):
    path = tmp_path / "bomb"
    path.write_bytes(header(60_000, 60_001))
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLarge, match=r"bomb: found .*expected at most 134217728 pixels .*smaller images"):
            reader(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("header", [png, bmp, tiff], ids=lambda header: header.__name__)
def test_the_limit_is_a_number_of_pixels(tmp_path, header):
    path = tmp_path / "bomb"
    path.write_bytes(header(2**13, 2**14))
    assert image_size(path) == (2**13, 2**14)
    path.write_bytes(header(2**13, 2**14 + 1))
    with pytest.raises(ImageTooLarge, match="found 8192 x 16385 pixels"):
        image_size(path)


def test_channels_count_towards_the_limit(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 4, 4), np.uint8), photometric="rgb", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff_file:
        for name, value in (("ImageLength", 10_000), ("ImageWidth", 10_000), ("SamplesPerPixel", 6)):
            tiff_file.pages[0].tags[name].overwrite(value)
    with pytest.raises(ImageTooLarge, match="found 10000 x 10000 pixels of 6 channels"):
        image_size(path)


def pictures(folder: Path) -> dict[str, Path]:
    pixels = smooth(120, 150)
    noisy = pixels ^ np.random.default_rng(0).integers(0, 8, pixels.shape, dtype=np.uint8)
    tifffile.imwrite(folder / "jpeg.tif", noisy, photometric="rgb", compression="jpeg")
    tifffile.imwrite(folder / "tiles.tif", noisy, photometric="rgb", compression="zlib", tile=(32, 32))
    return {
        "png": saved(folder / "a.png", noisy),
        "png palette": saved(folder / "p.png", Image.fromarray(noisy).quantize(64)),
        "png 16": png_16(folder / "deep.png", noisy.astype(np.uint16) * 250, kind="rgb"),
        "jpeg": saved(folder / "a.jpg", noisy, quality=95),
        "progressive jpeg": saved(folder / "p.jpg", noisy, progressive=True),
        "webp": saved(folder / "a.webp", noisy),
        "bmp": saved(folder / "a.bmp", noisy),
        "gif": saved(folder / "a.gif", Image.fromarray(noisy).quantize(64)),
        "tiff": saved(folder / "a.tif", noisy),
        "tiff lzw": saved(folder / "l.tif", noisy, compression="tiff_lzw"),
        "tiff jpeg": folder / "jpeg.tif",
        "tiff tiles": folder / "tiles.tif",
    }


def test_a_truncated_file_is_an_error(tmp_path):
    for kind, path in pictures(tmp_path).items():
        whole = path.read_bytes()
        assert read_image(path).shape == (120, 150, 3), kind
        for tenth in range(1, 10):
            path.write_bytes(whole[: len(whole) * tenth // 10])
            with pytest.raises(DamagedImage, match=f"{path.name}: found .*truncated or damaged: copy or export it"):
                read_image(path)
            with pytest.raises(DamagedImage):
                read_mask(path)


def test_random_damage_raises_only_documented_errors(tmp_path):
    random = np.random.default_rng(0)
    for path in pictures(tmp_path).values():
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(12):
            broken = whole.copy()
            broken[random.integers(4, min(len(broken), 300), 4)] = random.integers(0, 256, 4)
            path.write_bytes(broken.tobytes())
            try:
                assert read_image(path).ndim == 3
            except ImageFault:
                continue


def test_a_tiff_without_an_image(tmp_path, reader):
    (tmp_path / "a.tif").write_bytes(b"II*\0\xff\xff\xff\x7f")
    with pytest.raises(DamagedImage, match=r"a\.tif: found a TIFF header without an image; "):
        reader(tmp_path / "a.tif")


def test_a_tiff_that_decodes_to_another_shape(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 5, 3), np.uint8), photometric="rgb", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff_file:
        tiff_file.pages[0].tags["BitsPerSample"].overwrite((0, 0, 0))
    with pytest.raises(DamagedImage, match=r"found pixels of shape .*expected shape \(4, 5, 3\)"):
        read_image(path)


def test_a_memory_error_is_not_reported_as_damage(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", smooth(3, 4))

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("imagecodecs.spng_decode", exhausted)
    with pytest.raises(MemoryError):
        read_image(path)
    monkeypatch.undo()
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", exhausted)
    with pytest.raises(MemoryError):
        read_image(saved(tmp_path / "a.jpg", smooth(3, 4)))


def test_errors_of_arrays_and_large_images_name_the_remedy(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4), np.uint8))
    with pytest.raises(NotAnImage, match=r"a\.npy: found a NumPy array; .*--out mask\.tif"):
        read_image(tmp_path / "a.npy")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zarray").write_text("{}")
    with pytest.raises(NotAnImage, match=r"a\.zarr: found a folder; .*--out mask\.tif"):
        read_image(tmp_path / "a.zarr")
    (tmp_path / "a.png").write_bytes(png_header(30000, 30000, bits=8, kind="rgb") + block(b"IDAT", b""))
    with pytest.raises(ImageTooLarge, match=r"window by window, .*--out mask\.tif"):
        read_image(tmp_path / "a.png")
