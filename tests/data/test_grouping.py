"""Images of one source are grouped by names, perceptual hashes and identical pixels, if a split remains."""

import numpy as np
import pytest

from maskwright.data.grouping import identical_groups, infer_groups, sources_from_names

SOURCES = range(6)
FRAMES = {
    "frame number": ("{:04}TP_006{:03}", 30),
    "word and number": ("video{}_frame{:05}", 7),
    "slide position": ("slide{}-x{}-y2048", 1024),
    "letter": ("patient{}_{:c}", 1),
    "letter without separator": ("p{}{:c}", 1),
    "folder": ("videos/v{}/{:04}", 1),
    "copy": ("scan {} ({})", 1),
}


def partition(groups):
    """The sets of names in one group, without the names of the groups."""
    return {frozenset(name for name in groups if groups[name] == group) for group in groups.values()}


@pytest.mark.parametrize(("pattern", "step"), FRAMES.values(), ids=FRAMES)
def test_the_varying_suffix_of_a_name_is_removed(pattern, step):
    first = ord("a") if ":c}" in pattern else 0
    of_source = [[pattern.format(source, first + step * part) for part in range(3)] for source in SOURCES]
    groups = sources_from_names([name for names in of_source for name in names])
    assert partition(groups) == {frozenset(names) for names in of_source}


def test_as_many_suffixes_are_removed_as_leave_groups():
    deep = [f"scene{scene}_tile_{row}_{column}" for scene in SOURCES for row in range(3) for column in range(2)]
    flat = [f"cell_{image}_{tile}" for image in SOURCES for tile in range(4)]
    assert len(partition(sources_from_names(deep))) == 6  # scenes, not rows of tiles
    assert len(partition(sources_from_names(flat))) == 6  # images: without both numbers all would be "cell"


@pytest.mark.parametrize(
    "names",
    [
        [str(number) for number in range(30)],
        [f"img_{number:03}" for number in range(30)],
        [f"v{video}_{frame}" for video in range(4) for frame in range(9)],
        [f"v0_{frame}" for frame in range(9)] + [f"v{video}_0" for video in range(1, 9)],
        [f"{np.random.default_rng(number).bytes(12).hex()}" for number in range(200)],
        [],
    ],
    ids=["one stack", "one word", "four sources", "a source with more than half", "hashes", "nothing"],
)
def test_names_with_too_few_or_too_large_sources_give_no_groups(names):
    assert sources_from_names(names) is None


def random_hash(seed):
    """A hash far from those of other seeds."""
    return np.random.default_rng(seed).bytes(8)


def flipped(value, *bits):
    return (int.from_bytes(value, "big") ^ sum(1 << bit for bit in bits)).to_bytes(8, "big")


def random_hashes(names):
    return {name: random_hash(number) for number, name in enumerate(names)}


def digests(names):
    return {name: name for name in names}


def test_near_duplicates_form_a_group_even_in_a_chain():
    names = list("abcdefghij")
    hashes = random_hashes(names) | {
        "b": flipped(random_hash(0), 3, 40, 63),
        "c": flipped(random_hash(0), 3, 40, 63, 5, 17),
        "j": None,
        "i": None,
    }
    groups = infer_groups(names, digests=digests(names), hashes=hashes)
    assert partition(groups.of) == {frozenset("abc"), *map(frozenset, "defghij")}
    assert groups.evidence == "by near-duplicate images"


def test_names_and_hashes_are_combined():
    names = [f"v{video}_{frame}" for video in range(8) for frame in range(2)]
    hashes = random_hashes(names) | {"v1_0": flipped(random_hash(0), 1)}  # near v0_0: one scene under two names
    groups = infer_groups(names, digests=digests(names), hashes=hashes)
    assert len(partition(groups.of)) == 7
    assert groups.of["v0_1"] == groups.of["v1_1"]
    assert groups.evidence == "by file names and near-duplicate images"


def test_where_all_images_are_similar_only_names_are_used():
    names = [f"v{video}_{frame}" for video in range(8) for frame in range(2)]
    groups = infer_groups(names, digests=digests(names), hashes=dict.fromkeys(names, random_hash(0)))
    assert len(partition(groups.of)) == 8
    assert groups.evidence == "by file names; too many near-duplicates"


def test_without_other_evidence_identical_pixels_are_grouped():
    names = [str(number) for number in range(12)]
    same = digests(names) | {"7": "3"}
    groups = infer_groups(names, digests=same, hashes=dict.fromkeys(names, random_hash(0)))
    assert partition(groups.of) == {frozenset("37")} | {frozenset([name]) for name in names if name not in "37"}
    assert groups.evidence.startswith("by identical pixels; too many near-duplicates")


def test_identical_pixels_are_always_grouped():
    names = [f"v{video}_{frame}" for video in range(8) for frame in range(2)]
    same = digests(names) | {"v7_1": "v2_0"}
    groups = infer_groups(names, digests=same, hashes={})
    assert groups.of["v7_0"] == groups.of["v2_1"]
    assert len(partition(identical_groups(names, digests=same).of)) == 15


def test_thousands_of_hashes_with_equal_halves_are_grouped():
    generator = np.random.default_rng(2)
    names = [str(number) for number in range(5_000)]
    hashes = {name: b"same" + generator.bytes(4) for name in names}  # all in one bucket, the worst case
    duplicates = dict(zip(names[:10], (flipped(hashes[name], 0, 9) for name in names[100:110]), strict=True))
    groups = infer_groups(names, digests={}, hashes=hashes | duplicates)
    assert all(groups.of[str(number)] == groups.of[str(number + 100)] for number in range(10))
