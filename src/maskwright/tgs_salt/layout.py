"""Read and check the folder layout of the TGS salt identification challenge.

The layout consists of ``train/images/*.png``, ``train/masks/*.png``, ``train.csv`` with the columns ``id,rle_mask``,
``depths.csv`` with the columns ``id,z``, and ``test/images/*.png``. Either the masks or ``train.csv`` may be missing,
and ``depths.csv`` and the test images are optional. In the original data set, images have 101 x 101 pixels and three
equal channels. Empty masks are 8-bit PNG files, and other masks are 16-bit PNG files with the values 0 and 65535.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.data.strata import read_strata
from maskwright.errors import InputError
from maskwright.images.files import EmptyFolder, MissingFolder, image_files
from maskwright.images.read import image_size, read_mask
from maskwright.images.run_length import decode_runs, read_run_lengths
from maskwright.images.write import write_mask

SALT_VALUE = 255
"""Value of salt pixels in masks that are decoded from run-lengths."""


class WrongLayout(InputError):
    """A folder that does not have the layout of the challenge or contains inconsistent files."""

    text = "{file}: found {found}; expected {expected}. {remedy}"


@dataclass(frozen=True)
class SaltData:
    """Paths of the files of a checked data set, the size (h, w) of its images in pixels, and one-sentence warnings."""

    images: Path
    masks: Path
    depths: Path | None
    size: tuple[int, int]
    warnings: tuple[str, ...]


def read_salt(folder: str | Path, *, masks_into: Path) -> SaltData:
    """Read and check the data set of the challenge.

    Masks are read from the PNG files. If the PNG file of a mask is missing, the mask is decoded from its run-lengths,
    and all masks are written to ``masks_into`` with the values 0 and 255. If no PNG file is missing, nothing is
    written.

    Args:
        folder: Folder of the data set.
        masks_into: Folder outside the data set to which decoded masks are written.

    Raises:
        WrongLayout: The images or all masks are missing, or the sizes of images and masks differ.
        WrongRunLengths: ``train.csv`` cannot be read, or its run-lengths are invalid.
        WrongStrata: ``depths.csv`` cannot be read.
        ImageFault: A mask or the header of an image cannot be read.
    """
    folder = Path(folder)
    images = _by_id(folder / "train/images")
    if not images:
        raise WrongLayout(
            file=folder / "train/images",
            found="no images",
            expected="the training images of the TGS salt challenge",
            remedy="Name the folder that contains train/, train.csv, depths.csv and test/.",
        )
    size = _common_size(images)
    pngs, file = _by_id(folder / "train/masks"), folder / "train.csv"
    runs = read_run_lengths(file) if file.exists() else {}
    if not pngs and not runs:
        raise WrongLayout(
            file=folder,
            found="neither train/masks nor train.csv",
            expected="masks as PNG files or as run-lengths",
            remedy="Unpack the masks or train.csv.",
        )
    usable = images.keys() & (pngs.keys() | runs.keys())
    decoded = {name: decode_runs(runs[name], size, source=f"{file}: {name}") for name in sorted(usable & runs.keys())}
    stored = {name: _mask(pngs[name], size) for name in sorted(usable & pngs.keys())}
    needs_decoding = bool(usable - pngs.keys())
    # If the PNG files are used unchanged, masks without an image are reported later, when files are paired.
    reported_later = set() if needs_decoding else pngs.keys() - images.keys()
    differ = {name for name in stored.keys() & decoded.keys() if (stored[name] != decoded[name]).any()}
    masks = folder / "train/masks"
    warnings = [
        *_warning(f"ids in {file} without an image", runs.keys() - images.keys() - reported_later),
        *_warning(f"masks in {masks} without an image", pngs.keys() - images.keys() - runs.keys() - reported_later),
        *_warning(f"images without a row in {file}", (usable - runs.keys()) if runs else ()),
        *_warning(f"masks that differ from {file} (the PNG files are used)", differ),
    ]
    if needs_decoding:
        if masks_into.resolve().is_relative_to(folder.resolve()):
            raise WrongLayout(
                file=masks_into,
                found="a folder inside the data",
                expected="a folder outside the data for the decoded masks",
                remedy="Name another folder with --out.",
            )
        masks = masks_into
        _write_masks(masks, {**decoded, **stored})
    depths = folder / "depths.csv"
    if depths.exists():
        reported = (images.keys() | pngs.keys() | runs.keys()) - usable
        test_ids = _by_id(folder / "test/images").keys()
        warnings += _depth_warnings(depths, read_strata(depths).keys() - reported, usable, test_ids)
    return SaltData(folder / "train/images", masks, depths if depths.exists() else None, size, tuple(warnings))


def _by_id(folder: Path) -> dict[str, Path]:
    try:
        return {path.stem: path for path in image_files(folder)}
    except (MissingFolder, EmptyFolder):
        return {}


def _common_size(images: Mapping[str, Path]) -> tuple[int, int]:
    sizes = {name: image_size(path) for name, path in images.items()}
    common = Counter(sizes.values()).most_common(1)[0][0]
    for name, size in sizes.items():
        if size != common:
            raise WrongLayout(
                file=images[name],
                found=f"{size[0]} x {size[1]} pixels",
                expected=f"{common[0]} x {common[1]}, the size of the other images",
                remedy="Remove the image, or restore the original.",
            )
    return common


def _mask(file: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = read_mask(file)
    if mask.shape != size:
        raise WrongLayout(
            file=file,
            found=f"a mask of {' x '.join(map(str, mask.shape))}",
            expected=f"{size[0]} x {size[1]}, the size of its image",
            remedy="Restore the original.",
        )
    return mask != 0


def _write_masks(folder: Path, masks: Mapping[str, NDArray[np.bool_]]) -> None:
    """Write masks whose files are missing or different; equal files keep their modification times."""
    for name, mask in masks.items():
        file = folder / f"{name}.png"
        if not (file.is_file() and np.array_equal(read_mask(file) != 0, mask)):
            write_mask(file, np.where(mask, SALT_VALUE, 0).astype(np.uint8))


def _depth_warnings(file: Path, ids: Set[str], train: Set[str], test: Set[str]) -> tuple[str, ...]:
    return (
        *_warning(f"training images without a depth in {file}", train - ids),
        *(_warning(f"ids in {file} without an image", ids - train - test) if test else ()),
    )


def _warning(what: str, names: Collection[str]) -> tuple[str, ...]:
    examples = ", ".join(sorted(names)[:3])
    return (f"{what}: {len(names)}, for example {examples}",) if names else ()
