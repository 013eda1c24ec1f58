"""Images and masks are paired by name; unpaired files are reported with a remedy."""

import random
from pathlib import Path

import pytest

from maskwright.data.pairs import AmbiguousName, NoPairs, SameFolder, pair_folders
from maskwright.errors import WrongArgument
from maskwright.images.files import EmptyFolder
from tests.data.painted import touch


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_pairs_follow_names_and_not_the_order_of_files(tmp_path):
    images = touch(tmp_path / "images", "b.jpg", "a.jpg", "10.jpg", "9.jpg")
    masks = touch(tmp_path / "masks", "9.png", "b.png", "10.png", "a.png")
    pairs = pair_folders(images, masks).pairs
    assert [(pair.name, pair.image.name, pair.mask.name) for pair in pairs] == [
        ("10", "10.jpg", "10.png"),
        ("9", "9.jpg", "9.png"),
        ("a", "a.jpg", "a.png"),
        ("b", "b.jpg", "b.png"),
    ]


def test_subfolders_are_part_of_the_name(tmp_path):
    images = touch(tmp_path / "images", "rome/1.png", "oslo/1.png", "1.png")
    masks = touch(tmp_path / "masks", "oslo/1.png", "rome/1.png", "bern/1.png")
    pairing = pair_folders(images, masks)
    assert {pair.name: pair.mask for pair in pairing.pairs} == {
        "oslo/1": masks / "oslo/1.png",
        "rome/1": masks / "rome/1.png",
    }
    assert pairing.unpaired_images == (images / "1.png",)
    assert pairing.unpaired_masks == (masks / "bern/1.png",)


def test_a_dot_within_a_name_is_kept(tmp_path):
    images, masks = touch(tmp_path / "i", "scan.1.png", "scan.2.png"), touch(tmp_path / "m", "scan.1.png", "scan.2.png")
    assert [pair.name for pair in pair_folders(images, masks).pairs] == ["scan.1", "scan.2"]


def test_every_file_is_paired_or_unpaired_exactly_once(tmp_path):
    draw = random.Random(7)
    stems = [f"{number}" for number in range(60)]
    images = touch(tmp_path / "i", *(f"{stem}.jpg" for stem in draw.sample(stems, 40)))
    masks = touch(tmp_path / "m", *(f"{stem}_gt.png" for stem in draw.sample(stems, 40)))
    pairing = pair_folders(images, masks, mask_suffix="_gt")
    used = [pair.image for pair in pairing.pairs] + list(pairing.unpaired_images)
    used += [pair.mask for pair in pairing.pairs] + list(pairing.unpaired_masks)
    assert sorted(used) == sorted([*images.iterdir(), *masks.iterdir()])
    assert all(pair.mask.stem == pair.image.stem + "_gt" for pair in pairing.pairs)


@pytest.mark.parametrize("inner", ["masks", "deep/masks"])
def test_masks_inside_the_image_folder_are_not_images(tmp_path, inner):
    touch(tmp_path, "a.png", f"{inner}/a.png")
    pairing = pair_folders(tmp_path, tmp_path / inner)
    assert [pair.image for pair in pairing.pairs] == [tmp_path / "a.png"]
    assert pairing.unpaired_images == ()


def test_images_inside_the_mask_folder_are_not_masks(tmp_path):
    touch(tmp_path, "a.png", "images/a.png")
    pairing = pair_folders(tmp_path / "images", tmp_path)
    assert [pair.mask for pair in pairing.pairs] == [tmp_path / "a.png"]
    assert pairing.unpaired_masks == ()


def test_two_images_of_one_name_are_an_error(tmp_path):
    images, masks = touch(tmp_path / "i", "a.png", "a.jpg"), touch(tmp_path / "m", "a.png")
    with pytest.raises(AmbiguousName, match=r"a\.jpg and .*a\.png: both have the name 'a' .*Remove one\."):
        pair_folders(images, masks)


def test_two_masks_of_one_name_are_an_error(tmp_path):
    images, masks = touch(tmp_path / "i", "a.png"), touch(tmp_path / "m", "a.png", "a.tif")
    with pytest.raises(AmbiguousName, match=r"a\.png and .*a\.tif"):
        pair_folders(images, masks)


@pytest.mark.parametrize("suffix", ["_mask", "_gt", "-labels", " (mask)"])
def test_masks_with_an_ending_are_told_the_suffix(tmp_path, suffix):
    images = touch(tmp_path / "i", *(f"s/{number}.jpg" for number in range(12)))
    masks = touch(tmp_path / "m", *(f"s/{number}{suffix}.png" for number in range(12)))
    with pytest.raises(NoPairs) as error:
        pair_folders(images, masks)
    quoted = "' (mask)'" if " " in suffix else suffix
    assert str(error.value) == (
        f"{images}: no image has a mask of its name in {masks}; found images such as '0.jpg' and masks "
        f"such as '0{suffix}.png'. Add --mask-suffix {quoted}, which pairs 12 of 12 names."
    )
    assert len(pair_folders(images, masks, mask_suffix=suffix).pairs) == 12


def test_removing_a_mask_prefix_is_suggested(tmp_path):
    images, masks = touch(tmp_path / "i", "s/1.jpg", "s/2.jpg"), touch(tmp_path / "m", "s/mask_1.png", "s/mask_2.png")
    with pytest.raises(NoPairs, match=r"Remove 'mask_' from the mask names, which pairs 2 of 2"):
        pair_folders(images, masks)


def test_an_example_of_unrelated_names_is_shown(tmp_path):
    images, masks = touch(tmp_path / "i", "cat.jpg"), touch(tmp_path / "m", "dog.png")
    with pytest.raises(
        NoPairs,
        match=r"images such as 'cat\.jpg' and masks such as 'dog\.png'\. Give each mask the name of its image\.",
    ):
        pair_folders(images, masks)


def test_names_that_differ_in_letter_case_are_not_paired(tmp_path):
    images = touch(tmp_path / "i", "IMG_1.jpg", "b.jpg")
    masks = touch(tmp_path / "m", "img_1.png", "b.png")
    pairing = pair_folders(images, masks)
    assert [pair.name for pair in pairing.pairs] == ["b"]
    assert names(pairing.unpaired_images) == ["IMG_1.jpg"]
    assert names(pairing.unpaired_masks) == ["img_1.png"]
    assert pairing.hint == "Names that differ in letter case, such as 'IMG_1' and 'img_1', are not paired: rename one."


def test_names_that_differ_in_unicode_normalization_are_not_paired(tmp_path):
    images, masks = touch(tmp_path / "i", "caf\u00e9.jpg", "b.jpg"), touch(tmp_path / "m", "cafe\u0301.png", "b.png")
    hint = pair_folders(images, masks).hint
    assert hint.startswith("Names that differ in Unicode normalization, such as ")
    with pytest.raises(NoPairs, match="Unicode normalization"):
        pair_folders(
            touch(tmp_path / "j", "caf\u00e9.jpg"), touch(tmp_path / "n", "cafe\u0301_gt.png"), mask_suffix="_gt"
        )


def test_a_suffix_is_suggested_for_one_folder(tmp_path):
    touch(tmp_path, "a.jpg", "a_mask.png", "b.jpg", "b_mask.png")
    with pytest.raises(
        SameFolder, match=r"given for both images and masks.*Add --mask-suffix _mask, which pairs 2 of 4 names"
    ):
        pair_folders(tmp_path, tmp_path)


def test_one_folder_needs_a_suffix(tmp_path):
    with pytest.raises(SameFolder, match=r"expected two folders or .* Add --mask-suffix\."):
        pair_folders(touch(tmp_path, "a.jpg", "b.jpg"), tmp_path)


def test_one_folder_is_reported_before_ambiguous_names(tmp_path):
    with pytest.raises(SameFolder, match=r"given for both images and masks; expected two folders"):
        pair_folders(touch(tmp_path, "a.jpg", "a.png", "b.jpg", "b.png"), tmp_path)


def test_one_folder_with_a_suffix_is_images_and_masks(tmp_path):
    touch(tmp_path, "a.jpg", "a_mask.png", "b.jpg", "c_mask.png")
    pairing = pair_folders(tmp_path, tmp_path / "." / "", mask_suffix="_mask")
    assert [(pair.image.name, pair.mask.name) for pair in pairing.pairs] == [("a.jpg", "a_mask.png")]
    assert names(pairing.unpaired_images) == ["b.jpg"]
    assert names(pairing.unpaired_masks) == ["c_mask.png"]


def test_one_folder_without_masks_is_an_error(tmp_path):
    with pytest.raises(NoPairs, match=r"images such as 'a\.jpg' and no masks\. Give .* followed by '_mask'"):
        pair_folders(touch(tmp_path, "a.jpg"), tmp_path, mask_suffix="_mask")


def test_a_mask_suffix_with_a_file_suffix_is_an_error(tmp_path):
    with pytest.raises(
        WrongArgument, match=r"mask_suffix='_mask\.PNG': expected the end of the name without the file suffix"
    ):
        pair_folders(tmp_path, tmp_path, mask_suffix="_mask.PNG")


def test_an_empty_folder_is_an_error(tmp_path):
    (tmp_path / "m").mkdir()
    with pytest.raises(EmptyFolder, match=r"m: found no files"):
        pair_folders(touch(tmp_path / "i", "a.png"), tmp_path / "m")
