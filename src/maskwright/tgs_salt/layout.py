"""The layout of the TGS salt identification challenge: what is there, what does not fit together, and where masks are.

``train/images/*.png``, ``train/masks/*.png``, ``train.csv`` with ``id,rle_mask``, ``depths.csv`` with ``id,z`` and
``test/images/*.png``; masks or ``train.csv`` may be missing, and so may depths and test images. In the real set images
are 101 x 101 with three equal channels, empty masks PNGs of 8 bits and the others of 16, 0 and 65535.
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

SALT = 255
"""The value of salt in masks made of run-lengths."""


class WrongLayout(InputError):
    """A folder that is not laid out as the challenge's data, or holds what cannot be used."""

    text = "{file}: found {found}; expected {expected}. {remedy}"


@dataclass(frozen=True)
class SaltData:
    """Where everything is; ``notes`` are what a person should know of, a sentence each."""

    images: Path
    masks: Path
    depths: Path | None
    size: tuple[int, int]
    notes: tuple[str, ...]


def read_salt(folder: str | Path, *, masks_into: Path) -> SaltData:
    """Look through a folder of the challenge's layout.

    Masks are the PNGs; where there is none for an image, its run-lengths. Then all masks are written anew into
    ``masks_into``, 0 and 255, where a later call finds them; else that folder is not touched.

    Raises:
        WrongLayout: Images or all masks are missing, or an image or a mask has another size than the others.
        WrongRunLengths: ``train.csv`` cannot be read, or a mask in it is none: a run past the end, for one.
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
            remedy="Give the folder that holds train/, train.csv, depths.csv and test/.",
        )
    size = _common_size(images)
    pngs, file = _by_id(folder / "train/masks"), folder / "train.csv"
    runs = read_run_lengths(file) if file.exists() else {}
    if not pngs and not runs:
        raise WrongLayout(
            file=folder,
            found="neither train/masks nor train.csv",
            expected="masks as PNGs, or their run-lengths",
            remedy="Unpack both.",
        )
    known = images.keys() & (pngs.keys() | runs.keys())
    decoded = {name: decode_runs(runs[name], size, source=f"{file}: {name}") for name in sorted(known & runs.keys())}
    stored = {name: _mask(pngs[name], size) for name in sorted(known & pngs.keys())}
    made = bool(known - pngs.keys())
    paired = set() if made else pngs.keys() - images.keys()  # whose lack of an image is told by whoever pairs the files
    differ = {name for name in stored.keys() & decoded.keys() if (stored[name] != decoded[name]).any()}
    masks = folder / "train/masks"
    notes = [
        *_strangers(f"Ids of {file} without an image", runs.keys() - images.keys() - paired),
        *_strangers(f"Masks in {masks} without an image", pngs.keys() - images.keys() - runs.keys() - paired),
        *_strangers(f"Images that are not in {file}", (known - runs.keys()) if runs else ()),
        *_strangers(f"Masks that are not what {file} says, where the PNGs are used", differ),
    ]
    if made:
        if masks_into.resolve().is_relative_to(folder.resolve()):
            raise WrongLayout(
                file=masks_into,
                found="a place among the data",
                expected="a folder outside it, for masks made of run-lengths",
                remedy="Name another folder as --out.",
            )
        masks = masks_into
        _write_masks(masks, {**decoded, **stored})
    depths = folder / "depths.csv"
    if depths.exists():
        told = (images.keys() | pngs.keys() | runs.keys()) - known
        notes += _depth_notes(depths, read_strata(depths).keys() - told, known, _by_id(folder / "test/images").keys())
    return SaltData(folder / "train/images", masks, depths if depths.exists() else None, size, tuple(notes))


def _by_id(folder: Path) -> dict[str, Path]:
    try:
        return {path.stem: path for path in image_files(folder)}
    except (MissingFolder, EmptyFolder):
        return {}


def _common_size(images: Mapping[str, Path]) -> tuple[int, int]:
    sizes = {name: image_size(path) for name, path in images.items()}
    usual = Counter(sizes.values()).most_common(1)[0][0]
    for name, size in sizes.items():
        if size != usual:
            raise WrongLayout(
                file=images[name],
                found=f"{size[0]} x {size[1]} pixels",
                expected=f"{usual[0]} x {usual[1]}, as the other images have",
                remedy="Take it out, or put the original back.",
            )
    return usual


def _mask(file: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = read_mask(file)
    if mask.shape != size:
        raise WrongLayout(
            file=file,
            found=f"a mask of {' x '.join(map(str, mask.shape))}",
            expected=f"{size[0]} x {size[1]}, as its image has",
            remedy="Put the original back.",
        )
    return mask != 0


def _write_masks(folder: Path, masks: Mapping[str, NDArray[np.bool_]]) -> None:
    """Write masks that are not there yet; what is there and right stays as it is, so that nothing seems to change."""
    for name, mask in masks.items():
        file = folder / f"{name}.png"
        if not (file.is_file() and np.array_equal(read_mask(file) != 0, mask)):
            write_mask(file, np.where(mask, SALT, 0).astype(np.uint8))


def _depth_notes(file: Path, ids: Set[str], train: Set[str], test: Set[str]) -> tuple[str, ...]:
    return (
        *_strangers(f"Training images without a depth in {file}", train - ids),
        *(_strangers(f"Ids of {file} without an image", ids - train - test) if test else ()),
    )


def _strangers(what: str, names: Collection[str]) -> tuple[str, ...]:
    shown = ", ".join(sorted(names)[:3])
    return (f"{what}: {len(names)}, such as {shown}.",) if names else ()
