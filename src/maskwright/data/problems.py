"""What can be wrong with a data set: one rule for each kind of mistake, each over facts already scanned."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskwright.data.label_table import first_values
from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pairing
from maskwright.data.pixel_values import Value, joined
from maskwright.data.scan import ImageFacts, Scanned, images_of, masks_of
from maskwright.data.summary import common_channels
from maskwright.images.labels import Colour

Kind = Literal[
    "unpaired",
    "unreadable",
    "sizes",
    "channels",
    "dtypes",
    "mixed masks",
    "palettes",
    "mask values",
    "constant masks",
    "unseen classes",
    "duplicates",
    "leak",
]
_EXAMPLES = 3
_LARGEST = 65535  # a PNG has at most 16 bits a channel


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of mistake and every file that has it; ``fatal`` means that training must not start."""

    kind: Kind
    severity: Literal["fatal", "warning"]
    files: tuple[Path, ...]
    message: str


def unpaired(pairing: Pairing) -> Iterator[Problem]:
    """Images without a mask and masks without an image, where others do pair."""
    alone = (*pairing.images_alone, *pairing.masks_alone)
    if alone:
        images, masks = _count(pairing.images_alone, "image"), _count(pairing.masks_alone, "mask")
        message = (
            f"{images} without a mask and {masks} without an image are left out: {_examples(alone)}. {pairing.hint}"
        )
        yield Problem("unpaired", "warning", alone, message.strip())


def unreadable(scanned: Sequence[Scanned]) -> Iterator[Problem]:
    """Files that are missing, truncated, too large or no images at all."""
    failures = {file: error for one in scanned for file, error in one.failures.items()}
    if failures:
        shown = " ".join(str(error) for error in list(failures.values())[:_EXAMPLES])
        more = f" And {len(failures) - _EXAMPLES} more." if len(failures) > _EXAMPLES else ""
        yield Problem("unreadable", "fatal", tuple(failures), shown + more)


def sizes(scanned: Sequence[Scanned]) -> Iterator[Problem]:
    """Masks of another size than their image."""
    both = [(one.pair.mask, one.image.size, one.mask.size) for one in scanned if one.image and one.mask]
    wrong = [(file, image, mask) for file, image, mask in both if image != mask]
    if wrong:
        file, image, mask = wrong[0]
        turned = " One of the two lies on its side." if image == mask[::-1] else ""
        message = (
            f"{_count(wrong, 'mask')} of another size than the image. {file}: found {mask[0]} x {mask[1]} pixels "
            f"(height x width); expected {image[0]} x {image[1]}.{turned} Export masks at the size of their images."
        )
        yield Problem("sizes", "fatal", tuple(file for file, _, _ in wrong), message)


def channels(scanned: Sequence[Scanned], *, wanted: int | None = None) -> Iterator[Problem]:
    """Images whose channels cannot all be made one number, or the one wanted, without loss; grey and RGB can."""
    images = images_of(scanned)
    if wanted is not None:
        yield from _other_channels(images, wanted)
    elif images and common_channels(images.values()) is None:
        usual = Counter(image.channels for image in images.values()).most_common(1)[0][0]
        odd = {file: image.channels for file, image in images.items() if image.channels != usual}
        message = (
            f"{_count(odd, 'image')} with other channels than the rest: {_examples(odd)}: found "
            f"{joined(sorted(set(odd.values())))} channels; expected {usual}. Convert them, or leave them out."
        )
        yield Problem("channels", "fatal", tuple(odd), message)


def _other_channels(images: Mapping[Path, ImageFacts], wanted: int) -> Iterator[Problem]:
    odd = {
        file: image.channels
        for file, image in images.items()
        if image.channels != wanted and not ({image.channels, wanted} == {1, 3} and image.is_gray)
    }
    if odd:
        coloured = ", not all equal" if wanted == 1 and 3 in odd.values() else ""
        message = (
            f"{_count(odd, 'image')} of other channels than data.channels says: {_examples(odd)}: found "
            f"{joined(sorted(set(odd.values())))} channels{coloured}; expected {wanted}. "
            "Convert them, or leave them out."
        )
        yield Problem("channels", "fatal", tuple(odd), message)


def dtypes(scanned: Sequence[Scanned]) -> Iterator[Problem]:
    """Images of different number types: integers of 8 and 16 bits may be comparable, floats beside them never are."""
    images = images_of(scanned)
    counts = Counter(image.dtype for image in images.values())
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        odd = {file: image.dtype for file, image in images.items() if image.dtype != usual}
        floats = any(dtype.startswith("float") for dtype in counts)
        remedy = (
            "Floats have no scale in common with integers: convert these images, or leave them out."
            if floats
            else "Check that black and white mean the same in all."
        )
        message = (
            f"{_count(odd, 'image')} of another number type than the rest: {_examples(odd)}: found "
            f"{joined(sorted(set(odd.values())))}; expected {usual}. {remedy}"
        )
        yield Problem("dtypes", "fatal" if floats else "warning", tuple(odd), message)


def mixed_masks(scanned: Sequence[Scanned]) -> Iterator[Problem]:
    """Palette masks, which are read as numbers, beside masks of RGB colours."""
    masks = masks_of(scanned)
    indexed = tuple(file for file, mask in masks.items() if mask.palette)
    coloured = tuple(file for file, mask in masks.items() if any(isinstance(value, str) for value in mask.values))
    if indexed and coloured:
        message = (
            f"Masks of two kinds: found {_count(indexed, 'palette mask')} such as {indexed[0]} and "
            f"{_count(coloured, 'RGB mask')} such as {coloured[0]}; expected one kind. Convert palette masks to RGB."
        )
        yield Problem("mixed masks", "fatal", indexed, message)


def palettes(scanned: Sequence[Scanned]) -> Iterator[Problem]:
    """Palettes that give one number different colours, as when each mask was saved with a palette of its own."""
    first: dict[int, tuple[Colour, Path]] = {}
    for file, mask in masks_of(scanned).items():
        for number, colour in mask.palette.items():
            known, other = first.setdefault(number, (colour, file))
            if known != colour:
                message = (
                    f"Palettes differ: {number} is the colour {known} in {other} and {colour} in {file}. Numbers "
                    "decide the class here; if colours do in these masks, convert them to RGB."
                )
                yield Problem("palettes", "warning", (other, file), message)
                return


def strange_values(scanned: Sequence[Scanned], mask_values: MaskValues) -> Iterator[Problem]:
    """Masks with values that are no class, background or ignored."""
    strange = Counter[Value]()
    files = []
    for file, mask in masks_of(scanned).items():
        found = {value: pixels for value, pixels in mask.values.items() if mask_values.word(value) is None}
        strange.update(found)
        files += [file] * bool(found)
    if files:
        yield Problem("mask values", "fatal", tuple(files), str(mask_values.wrong(strange, file=_examples(files))))


def unwritable_values(scanned: Sequence[Scanned], mask_values: MaskValues) -> Iterator[Problem]:
    """Classes of a value that the masks to be written, PNG files, cannot hold."""
    unfit = {label.value: label.name for label in mask_values.labels if not 0 <= label.value <= _LARGEST}
    if unfit:
        files = tuple(file for file, mask in masks_of(scanned).items() if not unfit.keys().isdisjoint(mask.values))
        message = (
            f"Classes of values that no PNG mask can hold: found {joined(f'{v} {name}' for v, name in unfit.items())}; "
            f"expected 0 to {_LARGEST}. Change these values in the masks, or, where they are no classes, call them "
            "ignored with --ignore or --mask-values."
        )
        yield Problem("mask values", "fatal", files, message)


def constant_masks(scanned: Sequence[Scanned], mask_values: MaskValues) -> Iterator[Problem]:
    """Masks of one class, background or ignored all over, which is legal and may be a mistake."""
    words = {file: mask_values.count_words(mask.values) for file, mask in masks_of(scanned).items()}
    constant = {file: next(iter(found)) for file, found in words.items() if len(found) == 1}
    if constant:
        counts = joined(f"{count} {word}" for word, count in Counter(constant.values()).most_common())
        message = (
            f"{len(constant)} of {_count(words, 'mask')} with one class all over ({counts}): {_examples(constant)}."
        )
        yield Problem("constant masks", "warning", tuple(constant), message)


def unseen_classes(train: Sequence[Scanned], mask_values: MaskValues) -> Iterator[Problem]:
    """Classes that no training mask shows, which can therefore not be learnt."""
    seen = {word for mask in masks_of(train).values() for word in mask_values.count_words(mask.values)}
    unseen = [name for name in first_values(mask_values.words) if name not in seen]
    if unseen:
        message = f"Not in any training mask: {joined(unseen)}. The network cannot learn what it is not shown."
        yield Problem("unseen classes", "warning", (), message)


def duplicates(scanned: Sequence[Scanned]) -> Iterator[Problem]:
    """Images of one set with the same pixels."""
    copies = [files for files in _by_pixels(scanned).values() if len(files) > 1]
    if copies:
        message = (
            f"{_count(copies, 'picture')} given more than once, such as {_examples(copies[0])}: each copy counts. "
            "Remove all but one."
        )
        yield Problem("duplicates", "warning", tuple(file for files in copies for file in files), message)


def leak(train: Sequence[Scanned], validation: Sequence[Scanned]) -> Iterator[Problem]:
    """Images with the same pixels in training and validation, which make every score too good."""
    learnt, asked = _by_pixels(train), _by_pixels(validation)
    shared = [digest for digest in asked if digest in learnt]
    if shared:
        message = (
            f"LEAK: {_count(shared, 'picture')} of {len(asked)} in validation also in training, such as "
            f"{learnt[shared[0]][0]} and {asked[shared[0]][0]}. The scores will be better than the network is: "
            "remove these from one side."
        )
        files = tuple(file for digest in shared for file in (*learnt[digest], *asked[digest]))
        yield Problem("leak", "warning", files, message)


def _by_pixels(scanned: Sequence[Scanned]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    for file, image in images_of(scanned).items():
        files[image.digest].append(file)
    return files


def _count(things: Collection[object], noun: str) -> str:
    return f"{len(things)} {noun}{'s' * (len(things) != 1)}"


def _examples(files: Collection[Path]) -> str:
    return joined(files, most=_EXAMPLES)
