"""Decide whether the mean of the predictions of several networks scores better than fewer networks."""

from collections.abc import Sequence

from maskwright.training.tuning_record import TriedOption
from maskwright.tune.options import MIN_GAIN, tried_option
from maskwright.tune.scoring import MaskScorer, MasksOfNetwork


def compare_networks(
    scorer: MaskScorer, masks: Sequence[MasksOfNetwork], *, same_images: bool
) -> tuple[list[TriedOption], list[int]]:
    """Score several networks with and without averaging their predictions, and choose the networks to average.

    If the same images were held out for all networks, the mean of their predictions is compared with the network that
    is best on the selection half. If only some images were held out for several networks, the mean is compared with the
    first network of each image. The mean must score better on both halves. If each image was held out for one network
    only, the gain from averaging cannot be measured, and the predictions of all networks are averaged.

    Args:
        scorer: Scorer of predicted masks of the held-out images.
        masks: Predicted masks of each network.
        same_images: Whether the same images were held out for all networks.

    Returns:
        The options that were tried, and the indices of the networks whose predictions are to be averaged.
    """
    all_networks = list(range(len(masks)))
    if len(all_networks) == 1:
        return [], all_networks
    if scorer.predicted.max_networks_per_image == 1:
        single = tried_option("each image by one network", scorer.score_transforms(()), None, on=True)
        return [single, TriedOption(name="mean of all networks", on=True)], all_networks
    if same_images:  # if the time limit was reached, some images were processed by only some of the networks
        indices = sorted(set.intersection(*map(set, masks)))
        each = [scorer.score((index, masks_of_network[index]) for index in indices) for masks_of_network in masks]
        best = max(all_networks, key=lambda number: each[number].selection)
        fewer, scores, name = [best], each[best], "best single network"
    else:
        first_network = {index: number for number in reversed(all_networks) for index in masks[number]}
        indices, fewer = sorted(first_network), sorted(set(first_network.values()))
        scores = scorer.score((index, masks[first_network[index]][index]) for index in indices)
        name = "each image by the first network it was held out for"
    mean_scores = scorer.score((index, scorer.mask(index)) for index in indices)
    is_on = mean_scores.over(scores).both_above(MIN_GAIN) or fewer == all_networks
    options = [
        tried_option(name, scores, None, on=True),
        tried_option("mean of the networks", mean_scores, scores, on=is_on),
    ]
    return options, all_networks if is_on else fewer
