import numpy as np
import pytest
from PIL import Image

from maskwright.data.strata import WrongStrata
from maskwright.images.read import read_mask
from maskwright.images.run_length import WrongRunLengths, encode_runs, write_run_lengths
from maskwright.tgs_salt.layout import WrongLayout, read_salt
from tests.tgs_salt.drawn_salt import draw_salt


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "salt"


def found(folder, tmp_path):
    return read_salt(folder, masks_into=tmp_path / "made")


def first(masks):
    return next(name for name, mask in masks.items() if mask.any())


def test_complete_layout_is_used_unchanged(folder, tmp_path):
    draw_salt(folder)
    data = found(folder, tmp_path)
    assert (data.images, data.masks) == (folder / "train/images", folder / "train/masks")
    assert (data.depths, data.size, data.warnings) == (folder / "depths.csv", (101, 101), ())
    assert not (tmp_path / "made").exists()


def test_masks_or_run_lengths_are_enough(folder, tmp_path):
    masks = draw_salt(folder)
    (folder / "train.csv").rename(tmp_path / "kept.csv")
    assert found(folder, tmp_path).masks == folder / "train/masks"
    (tmp_path / "kept.csv").rename(folder / "train.csv")
    for path in (folder / "train/masks").iterdir():
        path.unlink()
    data = found(folder, tmp_path)
    assert (data.masks, data.warnings) == (tmp_path / "made", ())
    for name, mask in masks.items():
        np.testing.assert_array_equal(read_mask(tmp_path / f"made/{name}.png") == 255, mask)


def test_missing_mask_is_decoded_and_a_second_call_writes_nothing(folder, tmp_path):
    masks = draw_salt(folder)
    (folder / f"train/masks/{first(masks)}.png").unlink()
    data = found(folder, tmp_path)
    assert data.masks == tmp_path / "made"
    assert {path.stem for path in data.masks.iterdir()} == set(masks)
    before = {path: path.stat().st_mtime_ns for path in data.masks.iterdir()}
    found(folder, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in data.masks.iterdir()} == before


def test_ids_without_image_and_images_without_row_are_warnings(folder, tmp_path):
    masks = draw_salt(folder)
    name, *others = masks
    write_run_lengths(
        folder / "train.csv", [("unknown_id", "1 2"), *((other, encode_runs(masks[other])) for other in others)]
    )
    notes = found(folder, tmp_path).warnings
    assert notes == (
        f"ids in {folder / 'train.csv'} without an image: 1, for example unknown_id",
        f"images without a row in {folder / 'train.csv'}: 1, for example {name}",
    )


def test_image_without_mask_and_run_lengths_is_left_out(folder, tmp_path):
    masks = draw_salt(folder)
    (folder / "train.csv").unlink()
    (folder / f"train/masks/{first(masks)}.png").unlink()
    data = found(folder, tmp_path)
    assert data.warnings == ()  # pairing reports images without a mask


def test_mask_that_differs_from_its_run_lengths_is_a_warning(folder, tmp_path):
    masks = draw_salt(folder)
    name = first(masks)
    masks[name] = ~masks[name]
    write_run_lengths(folder / "train.csv", ((other, encode_runs(mask)) for other, mask in masks.items()))
    assert found(folder, tmp_path).warnings == (
        f"masks that differ from {folder / 'train.csv'} (the PNG files are used): 1, for example {name}",
    )


def test_masks_are_never_written_into_the_data(folder):
    draw_salt(folder)
    next((folder / "train/masks").iterdir()).unlink()
    with pytest.raises(WrongLayout, match=r"inside the data; .* --out\."):
        read_salt(folder, masks_into=folder / "train/made")


def test_folders_without_images_count_as_missing(folder, tmp_path):
    draw_salt(folder, tests=0)
    (folder / "test/images/.gitkeep").touch()
    for path in (folder / "train/masks").iterdir():
        path.unlink()
    (folder / "train/masks/.DS_Store").touch()
    assert found(folder, tmp_path).masks == tmp_path / "made"


def test_run_beyond_the_end_is_an_error(folder, tmp_path):
    masks = draw_salt(folder)
    name = first(masks)
    write_run_lengths(folder / "train.csv", [(name, "10201 2")])
    text = rf"train\.csv: {name}: .*10201 2.*10201"
    with pytest.raises(WrongRunLengths, match=text):
        found(folder, tmp_path)


def test_image_of_another_size_is_an_error(folder, tmp_path):
    masks = draw_salt(folder)
    Image.new("RGB", (100, 101)).save(folder / f"train/images/{first(masks)}.png")
    with pytest.raises(WrongLayout, match=rf"{first(masks)}\.png: found 101 x 100 pixels; expected 101 x 101"):
        found(folder, tmp_path)


def test_mask_of_another_size_is_an_error(folder, tmp_path):
    masks = draw_salt(folder)
    Image.new("L", (101, 50)).save(folder / f"train/masks/{first(masks)}.png")
    with pytest.raises(WrongLayout, match=rf"{first(masks)}\.png: found a mask of 50 x 101; expected 101 x 101"):
        found(folder, tmp_path)


def test_depths_without_image_and_images_without_depth_are_warnings(folder, tmp_path):
    masks = draw_salt(folder, images=3)
    depths = folder / "depths.csv"
    name, *others = masks
    depths.write_text("id,z\nunknown_id,7\n" + "".join(f"{other},1\n" for other in others))
    assert found(folder, tmp_path).warnings == (
        f"training images without a depth in {depths}: 1, for example {name}",
        f"ids in {depths} without an image: 1, for example unknown_id",
    )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("id,z\na,deep\n", "'deep' in line 2"),
        ("id,z\na,1\na,2\n", "the id a twice"),
        ("id,z\na\n", "1 columns in line 2"),
        ("id,z\n", "no line of numbers"),
        ("id,z\na,nan\n", "'nan' in line 2"),
    ],
)
def test_invalid_depths_are_an_error(folder, tmp_path, content, fault):
    draw_salt(folder, images=2)
    (folder / "depths.csv").write_text(content)
    with pytest.raises(WrongStrata, match=rf"depths\.csv: found {fault}; .*id,number"):
        found(folder, tmp_path)


def test_other_folder_is_an_error(tmp_path):
    with pytest.raises(WrongLayout, match=r"train.images: found no images; "):
        found(tmp_path, tmp_path)
    draw_salt(tmp_path)
    (tmp_path / "train.csv").unlink()
    for path in (tmp_path / "train/masks").iterdir():
        path.unlink()
    with pytest.raises(WrongLayout, match=r"found neither train/masks nor train\.csv"):
        found(tmp_path, tmp_path)
