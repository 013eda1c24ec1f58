"""Images and masks to pairs, by name; never by order."""

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
    """Two files of one side that pair under the same name."""

    text = "{first} and {second}: both are called {name!r} without their file type; expected one of them. Remove one."


class NoPairs(InputError):
    """Two folders that share no name."""

    text = "{images}: no image has a mask of its name in {masks}; found {image} and {mask}. {remedy}"


class SameFolder(InputError):
    """Images and masks in one folder, and nothing that tells them apart."""

    text = "{folder}: given for both images and masks; expected two folders, or masks with a name ending. {remedy}"


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask; ``name`` is their path within the folder, without file type and mask suffix."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True, slots=True)
class Pairing:
    """What two folders hold: the pairs in order of name, the files left over, and a prediction at why they were."""

    pairs: tuple[Pair, ...]
    images_alone: tuple[Path, ...] = ()
    masks_alone: tuple[Path, ...] = ()
    hint: str = ""


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many of ``items``, one or more, spread evenly over them.

    >>> spread("abcdefg", 3), spread("abc", 5)
    (['a', 'd', 'g'], ['a', 'b', 'c'])
    """
    if most >= len(items):
        return list(items)
    return [items[round(place * (len(items) - 1) / max(1, most - 1))] for place in range(most)]


def pair_folders(images: str | Path, masks: str | Path, *, mask_suffix: str = "") -> Pairing:
    """Pairs every image with the mask of the same path, subfolders included, whatever the file types.

    Args:
        images: Folder of images, read with its subfolders.
        masks: Folder of masks. It may lie inside ``images``; it may be ``images`` itself when ``mask_suffix`` is given.
        mask_suffix: What a mask's name has after its image's name: ``"_mask"`` pairs ``a.jpg`` with ``a_mask.png``.

    Raises:
        MissingFolder, NotAFolder, EmptyFolder: A folder that cannot be read or holds no image.
        SameFolder: One folder for both and no ``mask_suffix``.
        AmbiguousName: Two images, or two masks, of one name (``a.png`` and ``a.jpg``).
        NoPairs: No image has a mask; the text shows a name of each side and the suffix that would pair them.
        WrongArgument: ``mask_suffix`` with a file type.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("a.jpg", "a_mask.png", "b.jpg"):
    ...         Path(folder, name).touch()
    ...     pairing = pair_folders(folder, folder, mask_suffix="_mask")
    >>> [(pair.name, pair.mask.name) for pair in pairing.pairs], [path.name for path in pairing.images_alone]
    ([('a', 'a_mask.png')], ['b.jpg'])
    """
    images, masks = Path(images), Path(masks)
    if Path(mask_suffix).suffix.lower() in IMAGE_SUFFIXES:
        raise wrong_argument("mask_suffix", mask_suffix, expected="an ending without the file type")
    same = images.resolve() == masks.resolve()
    if same and not mask_suffix:
        names = dict.fromkeys(_name(path, images) for path in image_files(images))
        raise SameFolder(folder=images, remedy=_ending_hint(names, names) or "Give that ending with --mask-suffix.")
    image_names, mask_names = _names(images, other=masks), _names(masks, other=images)
    if same:
        image_names = {name: path for name, path in image_names.items() if not name.endswith(mask_suffix)}
        mask_names = {name: path for name, path in mask_names.items() if name.endswith(mask_suffix)}

    mask_of = {name.removesuffix(mask_suffix): name for name in mask_names if name.endswith(mask_suffix)}
    shared = sorted(image_names.keys() & mask_of.keys())
    images_alone = sorted(image_names.keys() - mask_of.keys())
    masks_alone = sorted(mask_names.keys() - {mask_of[name] for name in shared})
    hint = (
        _case_hint(images_alone, masks_alone, mask_suffix)
        or _ending_hint(images_alone, masks_alone)
        or _beginning_hint(images_alone, masks_alone)
    )
    if not shared:
        ending = f", with {mask_suffix!r} at the end" if mask_suffix else ""
        raise NoPairs(
            images=images,
            masks=masks,
            image=_example("image", image_names),
            mask=_example("mask", mask_names),
            remedy=hint or f"Name each mask as its image{ending}.",
        )
    return Pairing(
        pairs=tuple(Pair(name, image_names[name], mask_names[mask_of[name]]) for name in shared),
        images_alone=tuple(image_names[name] for name in images_alone),
        masks_alone=tuple(mask_names[name] for name in masks_alone),
        hint=hint,
    )


def _names(folder: Path, *, other: Path) -> dict[str, Path]:
    """The files of ``folder`` by name, without those of the ``other`` side where it lies inside."""
    here, there = folder.resolve(), other.resolve()
    inner = there.relative_to(here) if there != here and there.is_relative_to(here) else None
    named: dict[str, Path] = {}
    for path in image_files(folder):
        if inner is not None and path.is_relative_to(folder / inner):
            continue
        name = _name(path, folder)
        if name in named:
            raise AmbiguousName(first=named[name], second=path, name=name)
        named[name] = path
    return named


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _example(noun: str, files: Mapping[str, Path]) -> str:
    return f"{noun}s such as {next(iter(files.values())).name!r}" if files else f"no {noun}s"


def _case_hint(images: Collection[str], masks: Collection[str], mask_suffix: str) -> str:
    folded = {_folded(name): name for name in images}
    for name in masks:
        bare = name.removesuffix(mask_suffix)
        image = folded.get(_folded(bare))
        if image is not None:
            difference = "letter case" if image.casefold() == bare.casefold() else "the coding of accents"
            return f"Names that differ in {difference} do not pair, as {image!r} and {name!r}: rename one side."
    return ""


def _folded(name: str) -> str:
    return normalize("NFC", name.casefold())


def _ending_hint(images: Collection[str], masks: Collection[str]) -> str:
    known = set(images)
    endings = Counter(mask[at:] for mask in masks for at in range(1, len(mask)) if mask[:at] in known)
    for ending, count in _usual(endings, len(masks)):
        return f"Give --mask-suffix {quote(ending)}: {count} of {len(masks)} names then find their image."
    return ""


def _beginning_hint(images: Collection[str], masks: Collection[str]) -> str:
    known, beginnings = set(images), Counter[str]()
    for mask in masks:
        folder, slash, name = mask.rpartition("/")
        beginnings.update(name[:at] for at in range(1, len(name)) if folder + slash + name[at:] in known)
    for beginning, count in _usual(beginnings, len(masks)):
        return f"Rename the masks without {beginning!r}: {count} of {len(masks)} names then find their image."
    return ""


def _usual(affixes: Counter[str], total: int) -> list[tuple[str, int]]:
    """The commonest affix, where it explains at least half of the names."""
    return [(affix, count) for affix, count in affixes.most_common(1) if 2 * count >= total]
