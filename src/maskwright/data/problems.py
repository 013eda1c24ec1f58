"""Find problems in the scanned files of a data set, with one function for each kind of problem."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from maskwright.data.label_table import first_value_by_class
from maskwright.data.mask_values import MaskValues
from maskwright.data.object_masks import OBJECT_MASKS_REMEDY, are_object_masks
from maskwright.data.pairs import Pairing
from maskwright.data.pixel_values import Value, is_colour, joined
from maskwright.data.scan import ImageFacts, ScannedPair, readable_images, readable_masks
from maskwright.data.summary import common_channels
from maskwright.images.labels import Colour

ProblemKind = Literal[
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
MAX_NAMED_FILES: Final = 3
"""Largest number of file names in the message of one problem."""
_MAX_EXPLAINED_FILES: Final = 3
_MAX_PNG_VALUE: Final = 65535


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem and all files that are affected by it; a ``fatal`` problem prevents training.

    ``message`` states what was found, what was expected and what to do, but does not list ``files``.
    """

    kind: ProblemKind
    severity: Literal["fatal", "warning"]
    files: tuple[Path, ...]
    message: str


def with_file_names(message: str, files: Collection[Path]) -> str:
    """Add names of ``files`` to a message, so that it names at most three files, including those it already names.

    >>> with_file_names("2 masks without an image.", [Path("a.png"), Path("b.png")])
    '2 masks without an image. Files: a.png, b.png.'
    >>> with_file_names("a.png is damaged.", [Path("a.png"), Path("b.png"), Path("c.png"), Path("d.png")])
    'a.png is damaged. Also: b.png, c.png and 1 more.'
    """
    unnamed = [file for file in files if str(file) not in message]
    limit = MAX_NAMED_FILES - (len(files) - len(unnamed))
    if not unnamed or limit <= 0:
        return message
    return f"{message} {'Files' if len(unnamed) == len(files) else 'Also'}: {joined(unnamed, limit=limit)}."


def unpaired(pairing: Pairing) -> Iterator[Problem]:
    """Find images without a mask and masks without an image."""
    files = (*pairing.unpaired_images, *pairing.unpaired_masks)
    if files:
        images, masks = _count(pairing.unpaired_images, "image"), _count(pairing.unpaired_masks, "mask")
        message = f"Unused files: {images} without a mask and {masks} without an image. {pairing.hint}"
        yield Problem("unpaired", "warning", files, message.strip())


def unreadable(pairs: Sequence[ScannedPair]) -> Iterator[Problem]:
    """Find files that are missing, damaged, too large or not images."""
    failures = {file: error for pair in pairs for file, error in pair.failures.items()}
    if failures:
        explained = " ".join(str(error) for error in list(failures.values())[:_MAX_EXPLAINED_FILES])
        count = f"Unreadable files: {len(failures)}. " if len(failures) > 1 else ""
        yield Problem("unreadable", "fatal", tuple(failures), f"{count}{explained}")


def sizes(pairs: Sequence[ScannedPair]) -> Iterator[Problem]:
    """Find masks that differ in size from their images."""
    readable = [(pair.pair.mask, pair.image.size, pair.mask.size) for pair in pairs if pair.image and pair.mask]
    wrong = [(file, image, mask) for file, image, mask in readable if image != mask]
    if wrong:
        file, image, mask = wrong[0]
        rotated = " One of the two may be rotated by 90 degrees." if image == mask[::-1] else ""
        message = (
            f"{_count(wrong, 'mask')} of a different size than the image. {file}: found {mask[0]} x {mask[1]} pixels "
            f"(height x width); expected {image[0]} x {image[1]}.{rotated} Export masks at the size of their images."
        )
        yield Problem("sizes", "fatal", tuple(file for file, _, _ in wrong), message)


def channels(pairs: Sequence[ScannedPair], *, expected: int | None = None) -> Iterator[Problem]:
    """Find images that cannot be converted without loss to ``expected`` channels.

    By default, the number of channels of most images is expected.
    """
    images = readable_images(pairs)
    if expected is not None:
        yield from _unexpected_channels(images, expected)
    elif images and common_channels(images.values()) is None:
        usual = Counter(image.channels for image in images.values()).most_common(1)[0][0]
        odd = {file: image.channels for file, image in images.items() if image.channels != usual}
        message = (
            f"{_count(odd, 'image')} with a different number of channels: found "
            f"{joined(sorted(set(odd.values())))}; expected {usual}, as in most images. {_convert(odd)}"
        )
        yield Problem("channels", "fatal", tuple(odd), message)


def _unexpected_channels(images: Mapping[Path, ImageFacts], expected: int) -> Iterator[Problem]:
    odd = {
        file: image.channels
        for file, image in images.items()
        if image.channels != expected and not ({image.channels, expected} == {1, 3} and image.is_gray)
    }
    if odd:
        colour = " (RGB, not gray)" if expected == 1 and 3 in odd.values() else ""
        message = (
            f"{_count(odd, 'image')} with a different number of channels: found "
            f"{joined(sorted(set(odd.values())))}{colour}; expected {expected}, as in data.channels. {_convert(odd)}"
        )
        yield Problem("channels", "fatal", tuple(odd), message)


def dtypes(pairs: Sequence[ScannedPair]) -> Iterator[Problem]:
    """Find images of different data types.

    A mixture of floats and integers is fatal; a mixture of 8 and 16 bits is a warning.
    """
    images = readable_images(pairs)
    counts = Counter(image.dtype for image in images.values())
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        odd = {file: image.dtype for file, image in images.items() if image.dtype != usual}
        has_floats = any(dtype.startswith("float") for dtype in counts)
        remedy = (
            f"Floats and integers have no common scale. {_convert(odd)}"
            if has_floats
            else "Check that black and white are the lowest and highest values in both."
        )
        message = (
            f"{_count(odd, 'image')} with a different data type: found {joined(sorted(set(odd.values())))}; "
            f"expected {usual}, as in most images. {remedy}"
        )
        yield Problem("dtypes", "fatal" if has_floats else "warning", tuple(odd), message)


def mixed_masks(pairs: Sequence[ScannedPair]) -> Iterator[Problem]:
    """Find palette masks, whose values are read as numbers, in a data set that also contains RGB masks."""
    masks = readable_masks(pairs)
    palette = tuple(file for file, mask in masks.items() if mask.palette)
    rgb = tuple(file for file, mask in masks.items() if any(map(is_colour, mask.values)))
    if palette and rgb:
        message = (
            f"Both palette and RGB masks: found {_count(palette, 'palette mask')} and {_count(rgb, 'RGB mask')}, such "
            f"as {rgb[0]}; expected one kind. Convert palette masks to RGB."
        )
        yield Problem("mixed masks", "fatal", palette, message)


def palettes(pairs: Sequence[ScannedPair]) -> Iterator[Problem]:
    """Find masks whose palettes assign different colours to the same value; only the first two masks are reported."""
    first: dict[int, tuple[Colour, Path]] = {}
    for file, mask in readable_masks(pairs).items():
        for value, colour in mask.palette.items():
            first_colour, first_file = first.setdefault(value, (colour, file))
            if first_colour != colour:
                message = (
                    f"Palettes differ: value {value} is {first_colour} in {first_file} and {colour} in {file}. Classes "
                    "are assigned by value; if the colours identify the classes, convert the masks to RGB."
                )
                yield Problem("palettes", "warning", (first_file, file), message)
                return


def unknown_values(pairs: Sequence[ScannedPair], mask_values: MaskValues) -> Iterator[Problem]:
    """Find masks with values that are not in the label table."""
    unknown = Counter[Value]()
    files = []
    for file, mask in readable_masks(pairs).items():
        found = {value: pixels for value, pixels in mask.values.items() if mask_values.class_of(value) is None}
        unknown.update(found)
        files += [file] * bool(found)
    if files:
        fields = mask_values.unknown_values_error(unknown, file=files[0]).fields
        remedy = OBJECT_MASKS_REMEDY if are_object_masks(readable_masks(pairs).values()) else fields["remedy"]
        message = (
            f"{_count(files, 'mask')} with unknown values: found {fields['found']}; expected {fields['expected']}. "
            f"{remedy}"
        )
        yield Problem("mask values", "fatal", tuple(files), message)


def object_numbers(pairs: Sequence[ScannedPair], mask_values: MaskValues) -> Iterator[Problem]:
    """Find masks that look like object masks although each of their values is treated as a class."""
    if are_object_masks(readable_masks(pairs).values()):
        message = (
            f"The masks look like object masks, but each of the {len(mask_values.labels)} values is treated as a "
            f"class. {OBJECT_MASKS_REMEDY}"
        )
        yield Problem("mask values", "warning", (), message)


def unwritable_values(pairs: Sequence[ScannedPair], mask_values: MaskValues) -> Iterator[Problem]:
    """Find classes whose values cannot be stored in PNG files, the format in which predicted masks are written."""
    unwritable = {label.value: label.name for label in mask_values.labels if not 0 <= label.value <= _MAX_PNG_VALUE}
    if unwritable:
        masks = readable_masks(pairs)
        files = tuple(file for file, mask in masks.items() if not unwritable.keys().isdisjoint(mask.values))
        found = joined(f"{value} {name}" for value, name in unwritable.items())
        message = (
            f"Classes with values that a PNG mask cannot store: found {found}; expected 0 to {_MAX_PNG_VALUE}. Change "
            "these values in the masks, or, if they are not classes, ignore them with --ignore or --mask-values."
        )
        yield Problem("mask values", "fatal", files, message)


def constant_masks(pairs: Sequence[ScannedPair], mask_values: MaskValues) -> Iterator[Problem]:
    """Find masks in which all pixels belong to one class, to background or to the ignored pixels."""
    classes = {file: mask_values.count_classes(mask.values) for file, mask in readable_masks(pairs).items()}
    constant = {file: next(iter(counts)) for file, counts in classes.items() if len(counts) == 1}
    if constant:
        counts = joined(f"{count} {name}" for name, count in Counter(constant.values()).most_common())
        message = (
            f"{len(constant)} of {_count(classes, 'mask')} with a single class: {counts}. Check that this is right."
        )
        yield Problem("constant masks", "warning", tuple(constant), message)


def unseen_classes(train: Sequence[ScannedPair], mask_values: MaskValues) -> Iterator[Problem]:
    """Find classes of the label table that occur in no training mask."""
    present = {name for mask in readable_masks(train).values() for name in mask_values.count_classes(mask.values)}
    unseen = [name for name in first_value_by_class(mask_values.classes_by_value) if name not in present]
    if unseen:
        message = f"Classes that occur in no training mask, and so cannot be learned: {joined(unseen)}."
        yield Problem("unseen classes", "warning", (), message)


def duplicates(pairs: Sequence[ScannedPair]) -> Iterator[Problem]:
    """Find images with identical pixels within one set."""
    copies = [files for files in _files_by_digest(pairs).values() if len(files) > 1]
    if copies:
        message = f"{_count(copies, 'image')} with identical copies. All copies are used; keep one file of each."
        yield Problem("duplicates", "warning", tuple(file for files in copies for file in files), message)


def leak(train: Sequence[ScannedPair], validation: Sequence[ScannedPair]) -> Iterator[Problem]:
    """Find images that occur, with identical pixels, in both the training set and the validation set."""
    train_files, validation_files = _files_by_digest(train), _files_by_digest(validation)
    shared = [digest for digest in validation_files if digest in train_files]
    if shared:
        message = (
            f"Data leak: {len(shared)} of {_count(validation_files, 'validation image')} also in the training set. "
            "Validation scores will be too high. Remove these images from one of the sets."
        )
        files = tuple(file for digest in shared for file in (*train_files[digest], *validation_files[digest]))
        yield Problem("leak", "warning", files, message)


def _files_by_digest(pairs: Sequence[ScannedPair]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    for file, image in readable_images(pairs).items():
        files[image.digest].append(file)
    return files


def _convert(files: Collection[Path]) -> str:
    return "Convert or remove this image." if len(files) == 1 else "Convert or remove these images."


def _count(items: Collection[object], noun: str) -> str:
    return f"{len(items)} {noun}{'s' * (len(items) != 1)}"
