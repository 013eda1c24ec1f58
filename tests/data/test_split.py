"""A split assigns every name to one set, is stratified, and does not depend on the order of the names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwright.data.mask_values import MaskValues
from maskwright.data.pixel_values import Value
from maskwright.data.split import TooFewToSplit, folds, mask_coverage, split
from maskwright.errors import WrongArgument

names_and_coverage = st.dictionaries(st.text(min_size=1, max_size=6), st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=2)
fractions = st.floats(0.001, 0.999)


@settings(max_examples=80, deadline=None)
@given(names_and_coverage, fractions, st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_every_name_is_in_one_set_in_any_order(coverage, fraction, seed, random):
    names = list(coverage)
    train, validation = split(names, coverage, fraction=fraction, seed=seed)
    assert sorted(train + validation) == sorted(names)
    assert min(len(train), len(validation)) >= 1
    assert len(validation) == min(max(round(len(names) * fraction), 1), len(names) - 1)
    shuffled = random.sample(names, len(names))
    mapping = {name: coverage[name] for name in reversed(shuffled)}
    assert split(shuffled, mapping, fraction=fraction, seed=seed) == (train, validation)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=40), fractions, st.integers(0, 99))
def test_groups_stay_together(group_of, fraction, seed):
    names = [f"n{number}" for number in range(len(group_of))]
    groups = {name: f"g{group}" for name, group in zip(names, group_of, strict=True)}
    coverage = {name: number / len(names) for number, name in enumerate(names)}
    if len(set(group_of)) < 2:
        with pytest.raises(TooFewToSplit, match=r"in 1 group; expected at least two groups"):
            split(names, coverage, fraction=fraction, seed=seed, groups=groups)
        return
    train, validation = split(names, coverage, fraction=fraction, seed=seed, groups=groups)
    assert sorted(train + validation) == sorted(names)
    assert {groups[name] for name in train}.isdisjoint(groups[name] for name in validation)
    assert train
    assert validation


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.2, 0.8])
def test_every_tenth_of_the_coverages_gives_its_fraction(seed, fraction):
    coverage = {f"{number:03}": (number * 37 % 100) / 100 for number in range(100)}  # 0.00 to 0.99, out of order
    _, validation = split(list(coverage), coverage, fraction=fraction, seed=seed)
    tenths = [sum(tenth / 10 <= coverage[name] < (tenth + 1) / 10 for name in validation) for tenth in range(10)]
    assert tenths == [round(10 * fraction)] * 10


def test_the_seed_determines_the_draw():
    coverage = {f"{number}": 0.5 for number in range(50)}
    draws = [split(list(coverage), coverage, fraction=0.2, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_names_of_equal_coverage_are_drawn_at_random():
    coverage = {f"{number:02}": 0.0 for number in range(40)}
    draws = [split(list(coverage), coverage, fraction=0.5, seed=seed)[1] for seed in range(30)]
    neighbours = sum("00" in drawn and "01" in drawn for drawn in draws)  # never, if runs followed the names
    assert neighbours > 0
    assert all(any(name in drawn for drawn in draws) for name in coverage)


@pytest.mark.parametrize("seed", range(40))
def test_groups_of_unequal_size_match_the_fraction_of_names(seed):
    sizes = [60, 10, 10, 10, 10]  # a fifth of the groups: the large one would be most of the names
    groups = {f"{group}_{number:02}": str(group) for group, size in enumerate(sizes) for number in range(size)}
    coverage = dict.fromkeys(groups, 0.5)
    _, validation = split(list(groups), coverage, fraction=0.2, seed=seed, groups=groups)
    assert len(validation) == 10


def test_a_name_without_a_group_forms_its_own():
    coverage = {"a": 0.0, "b": 0.0, "c": 0.0}
    train, validation = split(list("abc"), coverage, fraction=0.1, seed=0, groups={"a": "same", "b": "same"})
    assert sorted([train, validation]) == [["a", "b"], ["c"]]


@pytest.mark.parametrize("names", [[], ["a"]])
def test_fewer_than_two_names_cannot_be_split(names):
    with pytest.raises(
        TooFewToSplit, match=rf"found {len(names)} pairs? in {len(names)} groups?; expected at least two"
    ):
        split(names, {"a": 0.5}, fraction=0.5, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 20, float("nan")])
def test_the_fraction_is_above_0_and_below_1(fraction):
    with pytest.raises(WrongArgument, match=r"fraction=.*: expected a number above 0 and below 1"):
        split(["a", "b"], {"a": 0, "b": 1}, fraction=fraction, seed=0)


def test_a_repeated_name_is_an_error():
    with pytest.raises(WrongArgument, match="names='b': expected each name once"):
        split(["a", "b", "b"], {"a": 0, "b": 1}, fraction=0.5, seed=0)


def test_coverage_is_the_class_fraction_of_valid_pixels():
    table = MaskValues(classes_by_value={0: "background", 1: "cell", 2: "wall", 9: "ignored"})
    masks: dict[str, dict[Value, int]] = {
        "half": {0: 4, 1: 1, 2: 3, 9: 100},
        "none": {0: 5},
        "all": {1: 5},
        "void": {9: 5},
    }
    assert mask_coverage(masks, table) == {"half": 0.5, "none": 0.0, "all": 1.0, "void": 0.0}


def test_without_background_the_most_frequent_class_takes_its_place():
    table = MaskValues(classes_by_value={0: "sky", 1: "road", 2: "tree"})
    assert mask_coverage({"a": {0: 1, 1: 3}, "b": {2: 1, 1: 9}}, table) == pytest.approx({"a": 0.25, "b": 0.1})
    assert mask_coverage({"a": {}}, table) == {"a": 0.0}


@settings(max_examples=60, deadline=None)
@given(names_and_coverage, st.integers(2, 6), st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_folds_contain_every_name_once_in_any_order(coverage, number, seed, random):
    names = list(coverage)
    if len(names) < number:
        with pytest.raises(TooFewToSplit, match=f"at least {'two' if number == 2 else number} groups"):
            folds(names, coverage, number=number, seed=seed)
        return
    parts = folds(names, coverage, number=number, seed=seed)
    assert sorted(name for part in parts for name in part) == sorted(names)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    random.shuffle(names)
    assert folds(names, coverage, number=number, seed=seed) == parts


def test_each_fold_has_masks_of_every_coverage():
    coverage = {f"{index:02}": index / 20 for index in range(20)}
    for part in folds(list(coverage), coverage, number=5, seed=3):
        assert [int(coverage[name] * 4) for name in part] == [0, 1, 2, 3]


def test_folds_keep_groups_together_and_are_of_similar_size():
    names = [f"{group}{number}" for group in "abcdefgh" for number in range(1 + "abcdefgh".index(group) % 3)]
    parts = folds(names, dict.fromkeys(names, 0.5), number=3, seed=0, groups={name: name[0] for name in names})
    assert sorted(name for part in parts for name in part) == sorted(names)
    for group in "abcdefgh":
        assert sum(any(name[0] == group for name in part) for part in parts) == 1
    assert max(map(len, parts)) - min(map(len, parts)) <= 2


def test_each_fold_has_every_coverage_at_every_depth():
    names = [f"{index:03}" for index in range(120)]
    coverage = {name: (int(name) % 4) / 4 for name in names}
    depth = {name: (int(name) * 37) % 120 for name in names}
    for part in folds(names, coverage, number=5, seed=3, strata=depth):
        for quarter in range(4):
            depths = sorted(depth[name] for name in part if coverage[name] == quarter / 4)
            assert len(depths) == 6
            assert all(abs(found - (20 * index + 10)) <= 20 for index, found in enumerate(depths))


def test_names_without_a_stratum_are_included():
    names = [f"{index:02}" for index in range(12)]
    parts = folds(names, dict.fromkeys(names, 0.0), number=3, seed=0, strata={"00": 5.0})
    assert sorted(name for part in parts for name in part) == names
    train, validation = split(names, dict.fromkeys(names, 0.0), fraction=0.25, seed=0, strata={"00": 5.0})
    assert (len(train), len(validation)) == (9, 3)
