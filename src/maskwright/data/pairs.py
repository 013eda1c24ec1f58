"""Pair images and masks by file name."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TypeVar
from unicodedata import normalize

from maskwright.errors import InputError, wrong_argument
from maskwright.images.files import IMAGE_SUFFIXES, image_files

T = TypeVar("T")


class AmbiguousName(InputError):
    """Two images, or two masks, with the same name."""

    text = "{first} and {second}: both have the name {name!r} without suffix; expected one of them. Remove one."


class NoPairs(InputError):
    """A folder of images and a folder of masks that have no file name in common."""

    text = "{images}: no image has a mask of its name in {masks}; found {image} and {mask}. {remedy}"


class SameFolder(InputError):
    """A single folder that is given for both images and masks, without a mask suffix."""

    text = "{folder}: given for both images and masks; expected two folders or a mask suffix. {remedy}"


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask; ``name`` is their path relative to the folder, without file and mask suffixes."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs of files in two folders, sorted by name, the unpaired files and the likely reason why they are unpaired."""

    pairs: tuple[Pair, ...]
    unpaired_images: tuple[Path, ...] = ()
    unpaired_masks: tuple[Path, ...] = ()
    hint: str = ""


def evenly_spaced(items: Sequence[T], limit: int) -> list[T]:
    """Return at most ``limit`` items, evenly spaced over the sequence.

    >>> evenly_spaced("abcdefg", 3), evenly_spaced("abc", 5)
    (['a', 'd', 'g'], ['a', 'b', 'c'])
    """
    if limit >= len(items):
        return list(items)
    return [items[round(index * (len(items) - 1) / max(1, limit - 1))] for index in range(limit)]


def pair_folders(images: str | Path, masks: str | Path, *, mask_suffix: str = "") -> Pairing:
    """Pair every image with the mask of the same relative path, including subfolders; file suffixes may differ.

    Args:
        images: Folder of the images.
        masks: Folder of the masks, which may be inside ``images``, or ``images`` itself if ``mask_suffix`` is given.
        mask_suffix: Suffix that follows the name of the image in the name of the mask: ``"_mask"`` pairs ``a.jpg`` with
            ``a_mask.png``.

    Raises:
        MissingFolder, NotAFolder, EmptyFolder: A folder cannot be read or contains no image.
        SameFolder: Both folders are the same, and ``mask_suffix`` is empty.
        AmbiguousName: Two images or two masks have the same name, such as ``a.png`` and ``a.jpg``.
        NoPairs: No image has a mask; the message names one image, one mask and the suffix that would pair them.
        WrongArgument: ``mask_suffix`` includes a file suffix.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("a.jpg", "a_mask.png", "b.jpg"):
    ...         Path(folder, name).touch()
    ...     pairing = pair_folders(folder, folder, mask_suffix="_mask")
    >>> [(pair.name, pair.mask.name) for pair in pairing.pairs], [path.name for path in pairing.unpaired_images]
    ([('a', 'a_mask.png')], ['b.jpg'])
    """
    images, masks = Path(images), Path(masks)
    if Path(mask_suffix).suffix.lower() in IMAGE_SUFFIXES:
        raise wrong_argument("mask_suffix", mask_suffix, expected="the end of the name without the file suffix")
    same = images.resolve() == masks.resolve()
    if same and not mask_suffix:
        names = dict.fromkeys(_name(path, images) for path in image_files(images))
        raise SameFolder(folder=images, remedy=_suffix_hint(names, names) or "Add --mask-suffix.")
    image_names, mask_names = _files_by_name(images, other=masks), _files_by_name(masks, other=images)
    if same:
        image_names = {name: path for name, path in image_names.items() if not name.endswith(mask_suffix)}
        mask_names = {name: path for name, path in mask_names.items() if name.endswith(mask_suffix)}

    mask_of = {name.removesuffix(mask_suffix): name for name in mask_names if name.endswith(mask_suffix)}
    shared = sorted(image_names.keys() & mask_of.keys())
    unpaired_images = sorted(image_names.keys() - mask_of.keys())
    unpaired_masks = sorted(mask_names.keys() - {mask_of[name] for name in shared})
    hint = (
        _case_hint(unpaired_images, unpaired_masks, mask_suffix)
        or _suffix_hint(unpaired_images, unpaired_masks)
        or _prefix_hint(unpaired_images, unpaired_masks)
    )
    if not shared:
        suffix = f", followed by {mask_suffix!r}" if mask_suffix else ""
        raise NoPairs(
            images=images,
            masks=masks,
            image=_example("image", image_names),
            mask=_example("mask", mask_names),
            remedy=hint or f"Give each mask the name of its image{suffix}.",
        )
    return Pairing(
        pairs=tuple(Pair(name, image_names[name], mask_names[mask_of[name]]) for name in shared),
        unpaired_images=tuple(image_names[name] for name in unpaired_images),
        unpaired_masks=tuple(mask_names[name] for name in unpaired_masks),
        hint=hint,
    )


def _files_by_name(folder: Path, *, other: Path) -> dict[str, Path]:
    """Return the image files in ``folder`` by name, without the files in ``other`` if ``other`` is a subfolder."""
    outer, inner = folder.resolve(), other.resolve()
    excluded = inner.relative_to(outer) if inner != outer and inner.is_relative_to(outer) else None
    files: dict[str, Path] = {}
    for path in image_files(folder):
        if excluded is not None and path.is_relative_to(folder / excluded):
            continue
        name = _name(path, folder)
        if name in files:
            raise AmbiguousName(first=files[name], second=path, name=name)
        files[name] = path
    return files


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _example(noun: str, files: Mapping[str, Path]) -> str:
    return f"{noun}s such as {next(iter(files.values())).name!r}" if files else f"no {noun}s"


def _case_hint(images: Collection[str], masks: Collection[str], mask_suffix: str) -> str:
    folded = {_folded(name): name for name in images}
    for name in masks:
        stem = name.removesuffix(mask_suffix)
        image = folded.get(_folded(stem))
        if image is not None:
            difference = "letter case" if image.casefold() == stem.casefold() else "Unicode normalization"
            return f"Names that differ in {difference}, such as {image!r} and {name!r}, are not paired: rename one."
    return ""


def _folded(name: str) -> str:
    return normalize("NFC", name.casefold())


def _suffix_hint(images: Collection[str], masks: Collection[str]) -> str:
    names = set(images)
    suffixes = Counter(mask[end:] for mask in masks for end in range(1, len(mask)) if mask[:end] in names)
    for suffix, count in _most_common_affix(suffixes, len(masks)):
        return f"Add --mask-suffix {quote(suffix)}, which pairs {count} of {len(masks)} names."
    return ""


def _prefix_hint(images: Collection[str], masks: Collection[str]) -> str:
    names, prefixes = set(images), Counter[str]()
    for mask in masks:
        folder, slash, name = mask.rpartition("/")
        prefixes.update(name[:start] for start in range(1, len(name)) if folder + slash + name[start:] in names)
    for prefix, count in _most_common_affix(prefixes, len(masks)):
        return f"Remove {prefix!r} from the mask names, which pairs {count} of {len(masks)} names."
    return ""


def _most_common_affix(affixes: Counter[str], total: int) -> list[tuple[str, int]]:
    """Return the most common affix and its count if it explains at least half of the names."""
    return [(affix, count) for affix, count in affixes.most_common(1) if 2 * count >= total]
