"""Published formulas in float64 NumPy, on (n, h, w, c) truth and probabilities, without code of the package.

The formulas handle neither ignored pixels nor absent classes; `over_valid` and `over_present` add both.
"""

import numpy as np


def over_valid(formula, truth, prediction, valid):
    """Apply a formula to the valid pixels, a mask (n, h, w); 0 without valid pixels."""
    return formula(truth[valid], prediction[valid]) if valid.any() else 0.0


def over_present(formula, truth, prediction, valid, *, weights=None, per_image=False, threshold=0.5):
    """Return 1 - the mean score of the classes with a true or predicted pixel, each scored alone; 0 without any."""
    images, *_, classes = truth.shape
    image_masks = [valid & (np.arange(images) == image)[:, None, None] for image in range(images)]
    scores = []
    for k in range(classes):
        true, predicted = (
            truth[..., k] > 0,
            prediction[..., k] > threshold if classes == 1 else prediction.argmax(-1) == k,
        )
        costs = [
            formula(truth[rows][:, k].reshape(1, -1, 1, 1), prediction[rows][:, k].reshape(1, -1, 1, 1))
            for rows in (image_masks if per_image else [valid])
            if (rows & (true | predicted)).any()
        ]
        if costs:
            scores.append((1 - np.mean(costs)) * (1 if weights is None else weights[k]))
    return 1 - np.mean(scores) if scores else 0.0


def _clip(prediction):
    """Clip probabilities like the losses, at the largest float32 below 1 - 1e-7."""
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
    """Salehi et al.: alpha weights the false positives p(class) g(rest), beta the false negatives p(rest) g(class)."""
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
    prediction = _clip(prediction)
    return -np.mean(np.log(np.where(truth == 1, prediction, 1 - prediction)))


def categorical_cross_entropy(truth, prediction, *, weights=1.0):
    normalised = prediction / np.maximum(prediction.sum(-1, keepdims=True), 1e-7)
    return -np.mean(truth * np.log(_clip(normalised)) * weights)


def binary_focal(truth, prediction, *, alpha, gamma):
    prediction = _clip(prediction)
    positives = -alpha * (1 - prediction) ** gamma * np.log(prediction)
    negatives = -(1 - alpha) * prediction**gamma * np.log(1 - prediction)
    return np.mean(np.where(truth == 1, positives, negatives))


def categorical_focal(truth, prediction, *, alpha, gamma):
    prediction = _clip(prediction)
    return -np.mean(truth * alpha * (1 - prediction) ** gamma * np.log(prediction))


def lovasz(errors, truth):
    """Lovász extension of the set function M -> |M| / |class or M| of one class, by its definition on sets."""
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
    logits = np.log(_clip(prediction)) - np.log(1 - _clip(prediction))
    return lovasz_hinge_from_logits(truth, logits)


def lovasz_hinge_from_logits(truth, logits):
    errors = np.maximum(0, 1 - logits * (2 * truth - 1))
    return np.mean([lovasz(errors[..., k], truth[..., k]) for k in range(truth.shape[-1])])


def lovasz_softmax(truth, prediction, *, per_image=False):
    rows = range(len(truth)) if per_image else [slice(None)]
    errors = abs(truth - prediction)
    return np.mean([lovasz(errors[row][..., k], truth[row][..., k]) for row in rows for k in range(truth.shape[-1])])


def numerical_gradient(function, prediction, *, step=1e-6):
    """Gradient of a function of the prediction by central differences."""
    gradient = np.zeros_like(prediction)
    for index in np.ndindex(prediction.shape):
        offset = np.zeros_like(prediction)
        offset[index] = step
        gradient[index] = (function(prediction + offset) - function(prediction - offset)) / (2 * step)
    return gradient
