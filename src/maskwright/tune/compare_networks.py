"""Decide whether the mean of the predictions of several networks scores better than fewer networks."""

from collections.abc import Sequence

import numpy as np

from maskwright.tune.options import MIN_GAIN
from maskwright.tune.result import TriedOption
from maskwright.tune.scoring import MaskScorer, MasksOfNetwork


def compare_networks(
    scorer: MaskScorer, masks: Sequence[MasksOfNetwork], *, same_images: bool
) -> tuple[list[TriedOption], list[int]]:
    """Score several networks with and without averaging their predictions, and choose the networks to average.

    If the same images were held out for all networks, the mean of their predictions is compared with the best network.
    If only some images were held out for several networks, the mean is compared with the first network of each image.
    If each image was held out for one network only, the gain from averaging cannot be measured, and the predictions of
    all networks are averaged.

    Args:
        scorer: Scorer of predicted masks of the held-out images.
        masks: Predicted masks of each network.
        same_images: Whether the same images were held out for all networks.

    Returns:
        The options that were tried, and the indices of the networks whose predictions are to be averaged.
    """
    all_networks = list(range(len(masks)))
    if len(all_networks) == 1:
        return [TriedOption("as trained", scorer.score_transforms(()), None, on=True)], all_networks
    if scorer.predicted.max_networks_per_image == 1:
        single = TriedOption("each image by one network", scorer.score_transforms(()), None, on=True)
        return [single, TriedOption("mean of all networks", None, None, on=True)], all_networks
    if same_images:  # if the time limit was reached, some images were processed by only some of the networks
        indices = sorted(set.intersection(*map(set, masks)))
        scores = [scorer.score((index, masks_of_network[index]) for index in indices) for masks_of_network in masks]
        fewer, score, name = [int(np.argmax(scores))], max(scores), "best single network"
    else:
        first_network = {index: number for number in reversed(all_networks) for index in masks[number]}
        indices, fewer = sorted(first_network), sorted(set(first_network.values()))
        score = scorer.score((index, masks[first_network[index]][index]) for index in indices)
        name = "each image by the first network it was held out for"
    mean_score = scorer.score((index, scorer.mask(index)) for index in indices)
    is_on = mean_score > score + MIN_GAIN or fewer == all_networks
    options = [
        TriedOption(name, score, None, on=True),
        TriedOption("mean of the networks", mean_score, mean_score - score, on=is_on),
    ]
    return options, all_networks if is_on else fewer
