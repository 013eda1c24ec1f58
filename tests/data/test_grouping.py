"""What belongs together is told by names, looks and equal pixels, and only where a split is left."""

import numpy as np
import pytest

from maskwright.data.grouping import guess_groups, identical_groups, sources_in_names

SOURCES = range(6)
FRAMES = {
    "frame number": ("{:04}TP_006{:03}", 30),
    "word and number": ("video{}_frame{:05}", 7),
    "slide position": ("slide{}-x{}-y2048", 1024),
    "letter": ("patient{}_{:c}", 1),
    "letter at once": ("p{}{:c}", 1),
    "folder": ("videos/v{}/{:04}", 1),
    "copy": ("scan {} ({})", 1),
}


def partition(groups):
    """The sets of names that are together, whatever a group is called."""
    return {frozenset(name for name in groups if groups[name] == group) for group in groups.values()}


@pytest.mark.parametrize(("pattern", "step"), FRAMES.values(), ids=FRAMES)
def test_the_varying_end_of_a_name_is_taken_off(pattern, step):
    first = ord("a") if ":c}" in pattern else 0
    of_source = [[pattern.format(source, first + step * part) for part in range(3)] for source in SOURCES]
    groups = sources_in_names([name for names in of_source for name in names])
    assert partition(groups) == {frozenset(names) for names in of_source}


def test_as_many_ends_go_as_leave_groups():
    deep = [f"scene{scene}_tile_{row}_{column}" for scene in SOURCES for row in range(3) for column in range(2)]
    flat = [f"cell_{image}_{tile}" for image in SOURCES for tile in range(4)]
    assert len(partition(sources_in_names(deep))) == 6  # scenes, not rows of tiles
    assert len(partition(sources_in_names(flat))) == 6  # images: without both numbers all would be "cell"


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
def test_names_without_a_handful_of_sources_tell_nothing(names):
    assert sources_in_names(names) is None


def look(number):
    """Looks of different numbers are far apart."""
    return np.random.default_rng(number).bytes(8)


def near(found, *bits):
    return (int.from_bytes(found, "big") ^ sum(1 << bit for bit in bits)).to_bytes(8, "big")


def unlike(names):
    return {name: look(number) for number, name in enumerate(names)}


def digests(names):
    return {name: name for name in names}


def test_near_looks_join_and_a_chain_is_one_group():
    names = list("abcdefghij")
    looks = unlike(names) | {"b": near(look(0), 3, 40, 63), "c": near(look(0), 3, 40, 63, 5, 17), "j": None, "i": None}
    groups = guess_groups(names, digests=digests(names), looks=looks)
    assert partition(groups.of) == {frozenset("abc"), *map(frozenset, "defghij")}
    assert groups.told_by == "by looks"


def test_names_and_looks_work_together():
    names = [f"v{video}_{frame}" for video in range(8) for frame in range(2)]
    looks = unlike(names) | {"v1_0": near(look(0), 1)}  # of v0_0: one scene under two names
    groups = guess_groups(names, digests=digests(names), looks=looks)
    assert len(partition(groups.of)) == 7
    assert groups.of["v0_1"] == groups.of["v1_1"]
    assert groups.told_by == "by file names and looks"


def test_where_all_look_alike_names_alone_decide():
    names = [f"v{video}_{frame}" for video in range(8) for frame in range(2)]
    groups = guess_groups(names, digests=digests(names), looks=dict.fromkeys(names, look(0)))
    assert len(partition(groups.of)) == 8
    assert groups.told_by == "by file names; more look alike than can be kept together"


def test_where_all_look_alike_and_names_say_nothing_equal_pixels_are_left():
    names = [str(number) for number in range(12)]
    same = digests(names) | {"7": "3"}
    groups = guess_groups(names, digests=same, looks=dict.fromkeys(names, look(0)))
    assert partition(groups.of) == {frozenset("37")} | {frozenset([name]) for name in names if name not in "37"}
    assert groups.told_by == "where their pixels are equal; more look alike than can be kept together"


def test_equal_pixels_stay_together_whatever_is_guessed():
    names = [f"v{video}_{frame}" for video in range(8) for frame in range(2)]
    same = digests(names) | {"v7_1": "v2_0"}
    groups = guess_groups(names, digests=same, looks={})
    assert groups.of["v7_0"] == groups.of["v2_1"]
    assert len(partition(identical_groups(names, digests=same).of)) == 15


def test_thousands_of_images_that_share_half_of_their_looks_are_grouped():
    generator = np.random.default_rng(2)
    names = [str(number) for number in range(5_000)]
    looks = {name: b"same" + generator.bytes(4) for name in names}  # a bucket of all of them, the worst case
    twins = dict(zip(names[:10], (near(looks[name], 0, 9) for name in names[100:110]), strict=True))
    groups = guess_groups(names, digests={}, looks=looks | twins)
    assert all(groups.of[str(number)] == groups.of[str(number + 100)] for number in range(10))
