"""Pairs are made by name; what cannot be paired is said with its way out."""

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
    assert pairing.images_alone == (images / "1.png",)
    assert pairing.masks_alone == (masks / "bern/1.png",)


def test_a_dot_within_a_name_belongs_to_it(tmp_path):
    images, masks = touch(tmp_path / "i", "scan.1.png", "scan.2.png"), touch(tmp_path / "m", "scan.1.png", "scan.2.png")
    assert [pair.name for pair in pair_folders(images, masks).pairs] == ["scan.1", "scan.2"]


def test_every_file_is_paired_or_alone_exactly_once(tmp_path):
    draw = random.Random(7)
    stems = [f"{number}" for number in range(60)]
    images = touch(tmp_path / "i", *(f"{stem}.jpg" for stem in draw.sample(stems, 40)))
    masks = touch(tmp_path / "m", *(f"{stem}_gt.png" for stem in draw.sample(stems, 40)))
    pairing = pair_folders(images, masks, mask_suffix="_gt")
    used = [pair.image for pair in pairing.pairs] + list(pairing.images_alone)
    used += [pair.mask for pair in pairing.pairs] + list(pairing.masks_alone)
    assert sorted(used) == sorted([*images.iterdir(), *masks.iterdir()])
    assert all(pair.mask.stem == pair.image.stem + "_gt" for pair in pairing.pairs)


@pytest.mark.parametrize("inner", ["masks", "deep/masks"])
def test_masks_in_a_folder_of_the_images_are_no_images(tmp_path, inner):
    touch(tmp_path, "a.png", f"{inner}/a.png")
    pairing = pair_folders(tmp_path, tmp_path / inner)
    assert [pair.image for pair in pairing.pairs] == [tmp_path / "a.png"]
    assert pairing.images_alone == ()


def test_images_in_a_folder_of_the_masks_are_no_masks(tmp_path):
    touch(tmp_path, "a.png", "images/a.png")
    pairing = pair_folders(tmp_path / "images", tmp_path)
    assert [pair.mask for pair in pairing.pairs] == [tmp_path / "a.png"]
    assert pairing.masks_alone == ()


def test_two_images_of_one_name_stop(tmp_path):
    images, masks = touch(tmp_path / "i", "a.png", "a.jpg"), touch(tmp_path / "m", "a.png")
    with pytest.raises(AmbiguousName, match=r"a\.jpg and .*a\.png: both are called 'a' .*Remove one\."):
        pair_folders(images, masks)


def test_two_masks_of_one_name_stop(tmp_path):
    images, masks = touch(tmp_path / "i", "a.png"), touch(tmp_path / "m", "a.png", "a.tif")
    with pytest.raises(AmbiguousName, match=r"a\.png and .*a\.tif"):
        pair_folders(images, masks)


@pytest.mark.parametrize("ending", ["_mask", "_gt", "-labels", " (mask)"])
def test_masks_with_an_ending_are_told_the_suffix(tmp_path, ending):
    images = touch(tmp_path / "i", *(f"s/{number}.jpg" for number in range(12)))
    masks = touch(tmp_path / "m", *(f"s/{number}{ending}.png" for number in range(12)))
    with pytest.raises(NoPairs) as error:
        pair_folders(images, masks)
    quoted = "' (mask)'" if " " in ending else ending
    assert str(error.value) == (
        f"{images}: no image has a mask of its name in {masks}; found images such as '0.jpg' and masks "
        f"such as '0{ending}.png'. Give --mask-suffix {quoted}: 12 of 12 names then find their image."
    )
    assert len(pair_folders(images, masks, mask_suffix=ending).pairs) == 12


def test_masks_with_a_beginning_are_told_to_lose_it(tmp_path):
    images, masks = touch(tmp_path / "i", "s/1.jpg", "s/2.jpg"), touch(tmp_path / "m", "s/mask_1.png", "s/mask_2.png")
    with pytest.raises(NoPairs, match=r"Rename the masks without 'mask_': 2 of 2 names then find"):
        pair_folders(images, masks)


def test_names_with_nothing_in_common_are_shown(tmp_path):
    images, masks = touch(tmp_path / "i", "cat.jpg"), touch(tmp_path / "m", "dog.png")
    with pytest.raises(
        NoPairs, match=r"images such as 'cat\.jpg' and masks such as 'dog\.png'\. Name each mask as its image\."
    ):
        pair_folders(images, masks)


def test_names_that_differ_in_letter_case_do_not_pair_and_are_pointed_out(tmp_path):
    images = touch(tmp_path / "i", "IMG_1.jpg", "b.jpg")
    masks = touch(tmp_path / "m", "img_1.png", "b.png")
    pairing = pair_folders(images, masks)
    assert [pair.name for pair in pairing.pairs] == ["b"]
    assert names(pairing.images_alone) == ["IMG_1.jpg"]
    assert names(pairing.masks_alone) == ["img_1.png"]
    assert pairing.hint == "Names that differ in letter case do not pair, as 'IMG_1' and 'img_1': rename one side."


def test_names_with_accents_coded_in_two_ways_are_pointed_out(tmp_path):
    images, masks = touch(tmp_path / "i", "caf\u00e9.jpg", "b.jpg"), touch(tmp_path / "m", "cafe\u0301.png", "b.png")
    hint = pair_folders(images, masks).hint
    assert hint.startswith("Names that differ in the coding of accents do not pair, as ")
    with pytest.raises(NoPairs, match="the coding of accents"):
        pair_folders(
            touch(tmp_path / "j", "caf\u00e9.jpg"), touch(tmp_path / "n", "cafe\u0301_gt.png"), mask_suffix="_gt"
        )


def test_one_folder_for_both_asks_for_the_suffix_it_sees(tmp_path):
    touch(tmp_path, "a.jpg", "a_mask.png", "b.jpg", "b_mask.png")
    with pytest.raises(SameFolder, match=r"given for both images and masks.*Give --mask-suffix _mask: 2 of 4 names"):
        pair_folders(tmp_path, tmp_path)


def test_one_folder_for_both_without_a_visible_suffix(tmp_path):
    with pytest.raises(SameFolder, match=r"expected two folders, .* Give that ending with --mask-suffix\."):
        pair_folders(touch(tmp_path, "a.jpg", "b.jpg"), tmp_path)


def test_one_folder_of_pairs_that_differ_in_file_type_is_not_told_to_remove_any(tmp_path):
    with pytest.raises(SameFolder, match=r"given for both images and masks; expected two folders"):
        pair_folders(touch(tmp_path, "a.jpg", "a.png", "b.jpg", "b.png"), tmp_path)


def test_one_folder_with_a_suffix_is_images_and_masks(tmp_path):
    touch(tmp_path, "a.jpg", "a_mask.png", "b.jpg", "c_mask.png")
    pairing = pair_folders(tmp_path, tmp_path / "." / "", mask_suffix="_mask")
    assert [(pair.image.name, pair.mask.name) for pair in pairing.pairs] == [("a.jpg", "a_mask.png")]
    assert names(pairing.images_alone) == ["b.jpg"]
    assert names(pairing.masks_alone) == ["c_mask.png"]


def test_one_folder_of_images_alone_shows_that_masks_are_missing(tmp_path):
    with pytest.raises(NoPairs, match=r"images such as 'a\.jpg' and no masks\. Name .* with '_mask' at the end"):
        pair_folders(touch(tmp_path, "a.jpg"), tmp_path, mask_suffix="_mask")


def test_a_suffix_with_a_file_type_is_refused(tmp_path):
    with pytest.raises(WrongArgument, match=r"mask_suffix='_mask\.PNG': expected an ending without the file type"):
        pair_folders(tmp_path, tmp_path, mask_suffix="_mask.PNG")


def test_an_empty_folder_is_named(tmp_path):
    (tmp_path / "m").mkdir()
    with pytest.raises(EmptyFolder, match=r"m: found no files"):
        pair_folders(touch(tmp_path / "i", "a.png"), tmp_path / "m")
