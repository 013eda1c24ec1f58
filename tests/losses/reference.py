"""The published formulas in float64 NumPy, on (n, h, w, c) truth and probabilities; no code of the package is used.

They know neither ignored pixels nor absent classes; `over_known` and `over_present` know them for them.
"""

import numpy as np


def over_known(formula, truth, prediction, known):
    """A formula of pixels, over the known ones, (n, h, w); 0 without any."""
    return formula(truth[known], prediction[known]) if known.any() else 0.0


def over_present(formula, truth, prediction, known, *, weights=None, per_image=False, threshold=0.5):
    """1 minus the mean score of the classes with a pixel true or decided for, each scored alone; 0 without any."""
    images, *_, classes = truth.shape
    of_image = [known & (np.arange(images) == image)[:, None, None] for image in range(images)]
    scores = []
    for k in range(classes):
        true, predicted = truth[..., k] > 0, prediction[..., k] > threshold if classes == 1 else prediction.argmax(-1) == k
        costs = [
            formula(truth[rows][:, k].reshape(1, -1, 1, 1), prediction[rows][:, k].reshape(1, -1, 1, 1))
            for rows in (of_image if per_image else [known])
            if (rows & (true | predicted)).any()
        ]
        if costs:
            scores.append((1 - np.mean(costs)) * (1 if weights is None else weights[k]))
    return 1 - np.mean(scores) if scores else 0.0


def _inside(prediction):
    """Probabilities kept as far from 0 and 1 as the losses keep them, with the largest that float32 has there."""
    return np.clip(prediction, 1e-7, float(np.float32(1 - 1e-7)))


def _counts(truth, prediction, per_image):
    axes = (1, 2) if per_image else (0, 1, 2)
    true_positives = (truth * prediction).sum(axes)
    return true_positives, prediction.sum(axes) - true_positives, truth.sum(axes) - true_positives


def _mean_score(scores, weights, per_image):
    return ((scores.mean(0) if per_image else scores) * weights).mean()


def jaccard(truth, prediction, *, weights=1.0, per_image=False, smooth=1e-5):
    intersection, false_positives, false_negatives = _counts(truth, prediction, per_image)
    union = intersection + false_positives + false_negatives
    return 1 - _mean_score((intersection + smooth) / (union + smooth), weights, per_image)


def dice(truth, prediction, *, beta=1.0, weights=1.0, per_image=False, smooth=1e-5):
    true_positives, false_positives, false_negatives = _counts(truth, prediction, per_image)
    above = (1 + beta**2) * true_positives + smooth
    below = (1 + beta**2) * true_positives + beta**2 * false_negatives + false_positives + smooth
    return 1 - _mean_score(above / below, weights, per_image)


def tversky(truth, prediction, *, alpha, beta, smooth=1e-5, exponent=1.0):
    """Salehi et al.: alpha beside the false positives p(class) g(rest), beta beside the false_negatives p(rest) g(class)."""
    false_positives = (prediction * (1 - truth)).sum((0, 1, 2))
    false_negatives = ((1 - prediction) * truth).sum((0, 1, 2))
    true_positives = (prediction * truth).sum((0, 1, 2))
    index = (true_positives + smooth) / (true_positives + alpha * false_positives + beta * false_negatives + smooth)
    return ((1 - index) ** exponent).mean()


def matthews(truth, prediction, *, smooth=1e-5):
    coefficients = []
    for channel in range(truth.shape[-1]):
        t, p = truth[..., channel].ravel(), prediction[..., channel].ravel()
        table = np.array([[t @ p, (1 - t) @ p], [t @ (1 - p), (1 - t) @ (1 - p)]]) + smooth
        sides = np.prod(table.sum(0)) * np.prod(table.sum(1))
        coefficients.append(np.linalg.det(table) / np.sqrt(sides) if sides else 0.0)
    return 1 - np.mean(coefficients)


def binary_cross_entropy(truth, prediction):
    prediction = _inside(prediction)
    return -np.mean(np.log(np.where(truth == 1, prediction, 1 - prediction)))


def categorical_cross_entropy(truth, prediction, *, weights=1.0):
    share = prediction / np.maximum(prediction.sum(-1, keepdims=True), 1e-7)
    return -np.mean(truth * np.log(_inside(share)) * weights)


def binary_focal(truth, prediction, *, alpha, gamma):
    prediction = _inside(prediction)
    of_class = -alpha * (1 - prediction) ** gamma * np.log(prediction)
    of_rest = -(1 - alpha) * prediction**gamma * np.log(1 - prediction)
    return np.mean(np.where(truth == 1, of_class, of_rest))


def categorical_focal(truth, prediction, *, alpha, gamma):
    prediction = _inside(prediction)
    return -np.mean(truth * alpha * (1 - prediction) ** gamma * np.log(prediction))


def lovasz(errors, truth):
    """The Lovász extension of the set function M -> |M| / |class or M|, by its definition on sets; one class."""
    pixels_of_class = set(np.flatnonzero(truth))
    wrong: set[int] = set()
    total, before = 0.0, 0.0
    for pixel in np.argsort(-errors.ravel()):
        wrong.add(int(pixel))
        jaccard_loss = len(wrong) / len(pixels_of_class | wrong)
        total += errors.ravel()[pixel] * (jaccard_loss - before)
        before = jaccard_loss
    return total


def lovasz_hinge(truth, prediction):
    logits = np.log(_inside(prediction)) - np.log(1 - _inside(prediction))
    return lovasz_hinge_of_logits(truth, logits)


def lovasz_hinge_of_logits(truth, logits):
    errors = np.maximum(0, 1 - logits * (2 * truth - 1))
    return np.mean([lovasz(errors[..., k], truth[..., k]) for k in range(truth.shape[-1])])


def lovasz_softmax(truth, prediction, *, per_image=False):
    rows = range(len(truth)) if per_image else [slice(None)]
    errors = abs(truth - prediction)
    return np.mean([lovasz(errors[row][..., k], truth[row][..., k]) for row in rows for k in range(truth.shape[-1])])


def slope(function, prediction, *, step=1e-6):
    """The gradient of a function of the prediction by central differences."""
    gradient = np.zeros_like(prediction)
    for place in np.ndindex(prediction.shape):
        there = np.zeros_like(prediction)
        there[place] = step
        gradient[place] = (function(prediction + there) - function(prediction - there)) / (2 * step)
    return gradient
