"""Decide, do not prediction: what to do with a network's probabilities, by its score on images it has not learnt from."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import parse_mask_values
from maskwright.errors import InputError
from maskwright.images.components import cleaned
from maskwright.images.labels import IGNORED
from maskwright.images.write import write_json, write_mask, write_text
from maskwright.inference.bundle import Bundle, View
from maskwright.inference.ensemble import DECISION_FILE, DECISION_PAGE, refuse_unlike, write_ensemble
from maskwright.inference.load_predictor import open_predictor
from maskwright.metrics.scores import Scores, confusion_matrix
from maskwright.training.evaluate import evaluate_pairs
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from maskwright.tune.held_out import Answers, Network, asked, held_out
from maskwright.tune.search import Search, Select, areas_for, score, search, search_area

_SCALES: Final = 0.25  # of zoom in training from which on those of the views are known
_QUARTERS: Final = 90.0  # degrees of rotation in training from which on quarter turns are known
_GAIN: Final = 1e-4  # of a score; less is none


class NothingToDecide(InputError):
    """A folder with no finished training in it."""

    text = "{folder}: found {found}; expected a finished run, or a folder of them as `train --folds` makes."


@dataclass(frozen=True)
class Line:
    """One thing that was tried: the score with it, what it gained, and whether it is on; no score where none can be."""

    name: str
    score: float | None
    gain: float | None
    on: bool


@dataclass(frozen=True)
class Decision:
    """What was decided, on how many images, and why."""

    images: int
    """Of which networks were asked."""
    select: Select
    lines: tuple[Line, ...]
    score: float
    """With all that is on."""
    bundle: Bundle
    curve: Search | None = None
    """Of one class."""
    areas: Mapping[str, int] | None = None
    """Least area of each class, pixels."""
    of: int = 0
    """Images that were held out."""
    chosen: tuple[Network, ...] = ()
    """That are averaged."""

    @property
    def networks(self) -> int:
        """How many are averaged."""
        return len(self.chosen)


def decide(
    folder: str | Path,
    *,
    seconds: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Decision:
    """Decide views, holes, threshold and least areas for the run in ``folder``, or for the ensemble of those in it.

    Every image is predicted by the networks that were validated on it and by no other: of folds, each out of its fold.
    What gains nothing is off. A run gets its decision into its bundle, and its scores, masks and page are made anew; a
    folder of runs becomes an ensemble, with a bundle of its own. ``decision.json`` holds every score.

    Args:
        folder: A finished run, or a folder of them.
        seconds: For asking the networks; where it does not do, some of the images are asked for. All if absent.
        progress: Called with the images asked for, and all.

    Raises:
        NothingToDecide, NothingHeldOut: There is no finished run, or nothing was held out.
        WrongEnsemble: The runs are of other classes, channels or pixels.
        InputError: An image or a mask cannot be read any more.
    """
    folder = Path(folder)
    networks = [Network(run.folder, run) for run in _runs(folder)]
    if networks[0].folder != folder:
        return decide_ensemble(networks, folder, seconds=seconds, progress=progress)
    decision = _decided(networks, beside=folder, seconds=seconds, progress=progress)
    for name in (DECISION_FILE, DECISION_PAGE):  # of a decision before
        (folder / name).unlink(missing_ok=True)
    decision.bundle.write(folder, write_text)
    _score_again(networks[0].run)
    write_json(folder / DECISION_FILE, to_json(decision))
    return decision


def decide_ensemble(
    networks: Sequence[Network],
    out: Path,
    *,
    seconds: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Decision:
    """Make an ensemble in ``out`` of the networks that gain together, and decide for it as `decide` does.

    Args:
        networks: Of any runs.
        out: Folder for the ensemble.
        seconds: As of `decide`.
        progress: As of `decide`.

    Raises:
        NothingHeldOut, WrongEnsemble, InputError: As `decide` raises.
    """
    refuse_unlike(out, [network.folder for network in networks])
    beside = next(place for place in (out.absolute(), *out.absolute().parents) if place.is_dir())
    decision = _decided(networks, beside=beside, seconds=seconds, progress=progress)
    write_ensemble(out, [network.folder for network in decision.chosen], decision.bundle)
    write_json(out / DECISION_FILE, to_json(decision))
    return decision


def _decided(
    networks: Sequence[Network],
    *,
    beside: Path,
    seconds: float | None,
    progress: Callable[[int, int], None],
    before: Sequence[Line] = (),
) -> Decision:
    """What is decided for the mean of some networks, or for those of them that are as good without the others.

    Args:
        networks: To ask, each of what was held out of it.
        beside: The folder on whose disk their answers are kept.
        seconds: For asking.
        progress: Called with the images asked for, and all.
        before: What was found already, and led to these networks.
    """
    began, run = time.monotonic(), networks[0].run
    recipe, plain = run.read_recipe(), _undecided(run.read_bundle())
    groups = views_in_common([one.run.read_recipe() for one in networks])
    views = tuple(dict.fromkeys(view for group in groups.values() for view in group))
    known, validated = held_out(networks, ways=1 + len(views))
    comparable = sum(len(one.pairs) for one in validated) > len(known)
    first = seconds / 2 if seconds and comparable else seconds  # the rest, should fewer be asked again
    with Answers(known, views, plain.outputs, beside=beside) as answers:
        judge = _Judge(answers, plain, recipe.training.select)
        said_alone: list[dict[int, NDArray[np.uint8]]] = [{} for _ in networks]
        for number, place, said in asked(validated, answers, seconds=first, progress=progress):
            said_alone[number][place] = plain.decide(said)
        is_shared = all(one.pairs.keys() == validated[0].pairs.keys() for one in validated)
        lines, kept = _compared(judge, said_alone, is_shared=is_shared)
        if len(kept) == len(networks):
            of = len({pair.image for one in networks for pair in one.run.read_split()["validation"]})
            return replace(_search_all(judge, groups, [*before, *lines]), of=of, chosen=tuple(networks))
    left = None if seconds is None else max(0.0, seconds - (time.monotonic() - began))
    fewer = [networks[number] for number in kept]
    return _decided(fewer, beside=beside, seconds=left, progress=progress, before=[*before, *lines])


def _compared(
    judge: "_Judge", said_alone: Sequence[Mapping[int, NDArray[np.uint8]]], *, is_shared: bool
) -> tuple[list[Line], list[int]]:
    """The score of several networks without and with their mean, and which of them are to be kept.

    Where one set of images was held out of all, the best of them stands against their mean. Where some were held out of
    some, the first of those does; and where each was held out of one, nothing can be compared.
    """
    every = list(range(len(said_alone)))
    if len(every) == 1:
        return [Line("as trained", judge.with_views(()), None, on=True)], every
    if judge.answers.most_asked == 1:  # no image is left that none of them has learnt from
        alone = Line("each image by one network", judge.with_views(()), None, on=True)
        return [alone, Line("the mean of all networks", None, None, on=True)], every
    if is_shared:  # in little time some may have been asked of fewer
        places = sorted(set.intersection(*map(set, said_alone)))
        scores = [judge.of([(place, said[place]) for place in places]) for said in said_alone]
        fewer, reached, name = [int(np.argmax(scores))], max(scores), "the best network alone"
    else:
        first = {place: number for number in reversed(every) for place in said_alone[number]}
        places, fewer = sorted(first), sorted(set(first.values()))
        reached = judge.of([(place, said_alone[first[place]][place]) for place in places])
        name = "each image by the first network it was held out of"
    mean = judge.of([(place, judge.prediction(place, ())) for place in places])
    on = mean > reached + _GAIN or fewer == every
    lines = [Line(name, reached, None, on=True), Line("their mean", mean, mean - reached, on=on)]
    return lines, every if on else fewer


def views_worth_trying(recipe: Recipe) -> dict[str, tuple[View, ...]]:
    """Ways to look at an image that are like those the network was trained with, by what they are called.

    >>> views_worth_trying(Recipe.from_dict({"data": {"images": "i", "masks": "m"}}))
    {'flips': ('mirrored',), 'scales': ('smaller', 'larger')}
    """
    drawn = recipe.augmentation
    groups: dict[str, tuple[View, ...]] = {}
    if drawn.custom is not None:
        return groups
    if drawn.flip == "horizontal_and_vertical":
        groups["flips"] = ("mirrored", "upside_down", "turned_round")
    elif drawn.flip != "none":
        groups["flips"] = ("mirrored",) if drawn.flip == "horizontal" else ("upside_down",)
    if drawn.rotation >= _QUARTERS:
        groups["quarter turns"] = ("turned_left", "turned_round", "turned_right")
    if drawn.zoom >= _SCALES:
        groups["scales"] = ("smaller", "larger")
    return groups


def views_in_common(recipes: Sequence[Recipe]) -> dict[str, tuple[View, ...]]:
    """What is worth trying for networks of all these recipes."""
    each = [views_worth_trying(recipe) for recipe in recipes]
    return {name: group for name, group in each[0].items() if all(one.get(name) == group for one in each)}


def to_json(decision: Decision) -> dict[str, Any]:
    """As stored in ``decision.json``."""
    curve, bundle = decision.curve, decision.bundle
    return {
        "images": decision.images,
        "of": decision.of,
        "networks": decision.networks,
        "select": decision.select,
        "score": decision.score,
        "tried": [vars(line) for line in decision.lines],
        "views": list(bundle.views),
        "fill_holes": bundle.fill_holes,
        "threshold": bundle.threshold if bundle.activation == "sigmoid" else None,
        "minimum_areas": decision.areas,
        "curve": curve
        and {"thresholds": curve.thresholds, "areas": curve.areas, "scores": curve.scores.round(6).tolist()},
    }


class _Judge:
    """Scores masks of all images by what the recipe selects by."""

    def __init__(self, answers: Answers, bundle: Bundle, select: Select) -> None:
        self.answers = answers
        self.bundle = bundle
        self.select = select

    def of(self, predictions: Sequence[tuple[int, NDArray[np.uint8]]]) -> float:
        """The score of label indices, each with the place of its image."""
        classes, background = len(self.bundle.labels), self.bundle.background
        images = self.answers.images
        found = [
            confusion_matrix(images[place].truth, prediction, classes=classes, ignore=IGNORED) for place, prediction in predictions
        ]
        if self.select == "mean_precision":
            counts = np.array(found)
            return float(score(counts[:, 1, 1], counts[:, 1].sum(1), counts[:, :, 1].sum(1), select=self.select))
        names = [label.name for label in self.bundle.labels]
        return Scores.from_confusion(np.sum(found, axis=0), names, background=background).mean_iou or 0.0

    def with_views(self, views: Sequence[View], *, fill_holes: bool = False) -> float:
        """The score of what is decided at one half, or by the most probable class."""
        return self.of([(place, self.prediction(place, views, fill_holes=fill_holes)) for place in self.places])

    def prediction(self, place: int, views: Sequence[View], *, fill_holes: bool = False) -> NDArray[np.uint8]:
        """Label indices of an image."""
        return cleaned(self.bundle.decide(self.answers.mean(place, views)), fill_holes=fill_holes)

    @property
    def places(self) -> list[int]:
        """Of all images."""
        return self.answers.places


def _search_all(judge: _Judge, groups: Mapping[str, tuple[View, ...]], lines: list[Line]) -> Decision:
    """Try one thing after the other, each beside what was found good before it; ``lines`` grow by them."""
    views, reached = _chosen_views(judge, groups, judge.with_views(()), lines)
    fill_holes = False
    if judge.bundle.background:
        filled = judge.with_views(views, fill_holes=True)
        fill_holes = filled > reached + _GAIN
        lines.append(Line("holes filled", filled, filled - reached, on=fill_holes))
        reached = max(filled, reached) if fill_holes else reached
    changes: dict[str, Any] = {"views": views, "fill_holes": fill_holes}
    curve, areas = None, None
    if judge.bundle.activation == "sigmoid":
        curve, reached = _search_one_class(judge, views, reached, lines, changes, fill_holes=fill_holes)
        areas = {judge.bundle.labels[1].name: changes["minimum_areas"][1]} if changes["minimum_areas"] else {}
    elif judge.bundle.background:
        areas, reached = _search_classes(judge, views, reached, lines, changes, fill_holes=fill_holes)
    bundle = Bundle.model_validate(judge.bundle.model_copy(update=changes).model_dump())
    return Decision(
        images=len(judge.places),
        select=judge.select,
        lines=tuple(lines),
        score=reached,
        bundle=bundle,
        curve=curve,
        areas=areas,
    )


def _chosen_views(
    judge: _Judge, groups: Mapping[str, tuple[View, ...]], plain: float, lines: list[Line]
) -> tuple[tuple[View, ...], float]:
    """The views that gain, alone and together, and the score with them."""
    chosen: tuple[View, ...] = ()
    reached = plain
    for name, group in groups.items():
        together = tuple(dict.fromkeys((*chosen, *group)))
        found = judge.with_views(together)
        on = found > reached + _GAIN
        lines.append(Line(name, found, found - reached, on=on))
        if on:
            chosen, reached = together, found
    return chosen, reached


def _search_one_class(
    judge: _Judge,
    views: Sequence[View],
    before: float,
    lines: list[Line],
    changes: dict[str, Any],
    *,
    fill_holes: bool,
) -> tuple[Search, float]:
    images = judge.answers.images
    curve = search(
        ((images[place].truth, judge.answers.mean(place, views)[..., 0]) for place in judge.places),
        areas=areas_for([image.truth.shape for image in images]),
        fill_holes=fill_holes,
        select=judge.select,
    )
    threshold, area, best = curve.best
    on = best > before + _GAIN
    if on:
        changes["threshold"] = threshold
    changes["minimum_areas"] = (0, area) if on and area else ()
    name = f"threshold {threshold:g}" + (f", parts of {area} pixels or more" if area else "")
    lines.append(Line(name, best, best - before, on=on))
    return curve, best if on else before


def _search_classes(
    judge: _Judge,
    views: Sequence[View],
    before: float,
    lines: list[Line],
    changes: dict[str, Any],
    *,
    fill_holes: bool,
) -> tuple[dict[str, int], float]:
    predictions = [judge.prediction(place, views, fill_holes=fill_holes) for place in judge.places]
    truths = [judge.answers.images[place].truth for place in judge.places]
    tried = areas_for([truth.shape for truth in truths])
    least = [0] * len(judge.bundle.labels)
    for label in range(1, len(least)):
        area, best, whole = search_area(zip(truths, predictions, strict=True), label=label, areas=tried)
        least[label] = area if best > whole + _GAIN else 0
        name = f"{judge.bundle.labels[label].name}, its own IoU, of parts of {area} pixels or more"
        lines.append(Line(name, best, best - whole, on=least[label] > 0))
    cleaner = [cleaned(prediction, minimum_areas=least) for prediction in predictions]
    found = judge.of(list(zip(judge.places, cleaner, strict=True)))
    on = any(least) and found > before + _GAIN
    lines.append(Line("the least areas that are on", found, found - before, on=on))
    changes["minimum_areas"] = tuple(least) if on else ()
    named = {label.name: area for label, area in zip(judge.bundle.labels, least, strict=True) if area and on}
    return named, found if on else before


def _runs(folder: Path) -> list[Run]:
    """The run in a folder, or the finished ones right below it."""
    if Run(folder).recipe.is_file():
        runs = [Run(folder)]
    else:
        below = sorted(folder.iterdir()) if folder.is_dir() else []
        runs = [Run(path) for path in below if Run(path).recipe.is_file()]
    if not runs:
        raise NothingToDecide(folder=folder, found="no run")
    if unfinished := [run.folder.name for run in runs if not run.is_complete]:
        raise NothingToDecide(folder=folder, found=f"{', '.join(unfinished[:5])} not finished")
    return runs


def _undecided(bundle: Bundle) -> Bundle:
    """The bundle as training wrote it."""
    nothing = {"views": (), "minimum_areas": (), "fill_holes": False, "threshold": 0.5}
    return bundle.model_copy(update=nothing)


def _score_again(run: Run) -> None:
    """The scores, masks and page of a run, as it predicts from now on."""
    from maskwright.report.page import write_report

    predictor = open_predictor(run.folder)
    values = parse_mask_values(run.read_recipe().data.mask_values or {})

    def keep(pair: Any, indices: NDArray[np.uint8] | None) -> None:
        if indices is not None:
            write_mask(run.validation / f"{pair.name}.png", predictor.bundle.values(indices))

    evaluation = evaluate_pairs(predictor, run.read_split()["validation"], mask_values=values, seen=keep)
    for failure in evaluation.failures:
        raise failure
    write_json(run.scores, evaluation.to_json())
    write_report(run.folder)
