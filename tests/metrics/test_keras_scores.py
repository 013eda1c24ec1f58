"""Keras metrics equal the NumPy scores, are restored from their configuration, and run compiled."""

from functools import partial

import keras
import numpy as np
import pytest

from maskwright import metrics
from maskwright.errors import WrongArgument
from maskwright.losses import BinaryCELoss, CategoricalCELoss
from maskwright.metrics import (
    BoundaryFScore,
    FScore,
    IOUScore,
    MeanIoU,
    PixelAccuracy,
    Precision,
    Recall,
    SaltScore,
    Scores,
    confusion_matrix,
)
from maskwright.metrics.keras_dataset import DIGIT_BASE

random = np.random.default_rng(6)
TRUTH = np.stack([random.permutation(np.arange(30) % 3).reshape(5, 6) for _ in range(2)])
PREDICTION = random.uniform(0.05, 0.95, (2, 5, 6, 3))


def score(kind, truth, prediction, *, weights=1.0, smooth=1e-5, per_image=False, beta=1.0):
    """Formulas of segmentation_models on one-hot truth."""
    axes = (1, 2) if per_image else (0, 1, 2)
    true_positives = (truth * prediction).sum(axes)
    false_positives, false_negatives = prediction.sum(axes) - true_positives, truth.sum(axes) - true_positives
    b = beta**2
    numerator, denominator = {
        "iou": (true_positives, true_positives + false_positives + false_negatives),
        "f": ((1 + b) * true_positives, (1 + b) * true_positives + b * false_negatives + false_positives),
        "precision": (true_positives, true_positives + false_positives),
        "recall": (true_positives, true_positives + false_negatives),
    }[kind]
    scores = (numerator + smooth) / (denominator + smooth)
    return ((scores.mean(0) if per_image else scores) * weights).mean()


@pytest.mark.parametrize(
    ("kind", "metric"), [("iou", IOUScore), ("f", FScore), ("precision", Precision), ("recall", Recall)]
)
def test_batch_score_equals_that_of_segmentation_models(kind, metric):
    truth = np.eye(3)[TRUTH]
    weights = [0.5, 2.0, 0.7]
    assert float(metric()(TRUTH, PREDICTION)) == pytest.approx(score(kind, truth, PREDICTION), rel=1e-5)
    weighted = metric(class_weights=weights, per_image=True, smooth=0.4)(TRUTH, PREDICTION)
    assert float(weighted) == pytest.approx(
        score(kind, truth, PREDICTION, weights=weights, per_image=True, smooth=0.4), rel=1e-5
    )
    selected = metric(class_indexes=[2, 0], threshold=0.4)(TRUTH, PREDICTION)
    assert float(selected) == pytest.approx(score(kind, truth[..., [2, 0]], PREDICTION[..., [2, 0]] > 0.4), rel=1e-5)


def test_beta_weights_recall():
    assert float(FScore(beta=2)(TRUTH, PREDICTION)) == pytest.approx(
        score("f", np.eye(3)[TRUTH], PREDICTION, beta=2), rel=1e-5
    )


def test_ignored_pixels_are_excluded_with_a_threshold():
    marked = np.where(np.arange(6) < 4, TRUTH, 255)
    expected = score("iou", np.eye(3)[TRUTH[..., :4]], PREDICTION[..., :4, :] > 0.3)
    assert float(IOUScore(threshold=0.3, ignore=255)(marked, PREDICTION)) == pytest.approx(expected, rel=1e-5)


def test_value_is_the_mean_over_batches_without_empty_ones():
    metric = IOUScore(smooth=0, threshold=0.5)
    assert np.isnan(float(metric.result()))
    truth = np.uint8([[[1, 1, 0]]])
    metric.update_state(truth, np.float32([[[[0.9], [0.2], [0.4]]]]))  # 1/2
    metric.update_state(truth * 0, np.zeros((1, 1, 3, 1)))  # neither truth nor prediction
    metric.update_state(truth, np.float32([[[[0.9], [0.9], [0.9]]]]))  # 2/3
    assert float(metric.result()) == pytest.approx((1 / 2 + 2 / 3) / 2)
    metric.reset_state()
    metric.update_state(truth * 0, np.zeros((1, 1, 3, 1)))
    assert np.isnan(float(metric.result()))


def test_segmentation_models_instances_have_its_names_and_values():
    truth = np.eye(3)[TRUTH]
    for attribute, name, expected in (
        ("iou_score", "iou_score", score("iou", truth, PREDICTION)),
        ("f1_score", "f1-score", score("f", truth, PREDICTION)),
        ("f2_score", "f2-score", score("f", truth, PREDICTION, beta=2)),
        ("precision", "precision", score("precision", truth, PREDICTION)),
        ("recall", "recall", score("recall", truth, PREDICTION)),
    ):
        metric = getattr(metrics, attribute)
        metric.reset_state()
        assert metric.name == name
        assert float(metric(TRUTH, PREDICTION)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("background", [False, True])
def test_data_set_scores_equal_those_of_its_confusion_matrix(background):
    prediction = np.concatenate([PREDICTION, np.zeros((2, 5, 6, 1))], axis=-1)
    truth = TRUTH.copy()
    truth[0, :2] = 255
    mean_iou, accuracy = MeanIoU(4, ignore=255, background=background), PixelAccuracy(4, ignore=255)
    for image in range(2):
        mean_iou.update_state(truth[image : image + 1], prediction[image : image + 1])
        accuracy.update_state(truth[image : image + 1], prediction[image : image + 1])
    confusion = confusion_matrix(truth, prediction.argmax(-1), classes=4, ignore=255)
    np.testing.assert_array_equal(mean_iou.confusion(), confusion)
    expected = Scores.from_confusion(confusion, ["a", "b", "c", "d"], background=background)
    assert float(mean_iou.result()) == pytest.approx(expected.mean_iou)
    assert float(accuracy.result()) == pytest.approx(expected.pixel_accuracy)
    assert expected.absent == ("d",)


def test_one_channel_gives_two_classes_at_the_threshold():
    truth, prediction = np.uint8([[[1, 1, 1, 0, 0]]]), np.float32([0.9, 0.6, 0.1, 0.7, 0.2]).reshape(1, 1, 5, 1)
    for threshold, expected in ((0.5, 2 / 4), (0.65, 1 / 4), (0.05, 3 / 5)):
        assert float(MeanIoU(2, background=True, threshold=threshold)(truth, prediction)) == pytest.approx(expected)


def test_one_hot_truth_is_accepted_and_unknown_ids_are_excluded():
    accuracy = PixelAccuracy(3)
    assert float(accuracy(np.eye(3)[TRUTH], PREDICTION)) == pytest.approx((PREDICTION.argmax(-1) == TRUTH).mean())
    accuracy.reset_state()
    accuracy.update_state([[[2, 9]]], [[[[0.1, 0.1, 0.8], [0.1, 0.8, 0.1]]]])
    np.testing.assert_array_equal(accuracy.confusion(), np.diag([0, 0, 1]))


def test_counts_above_the_int32_range_are_exact():
    metric = PixelAccuracy(2)
    metric.digits.assign(np.int32([[[5, 0], [0, 0]], [[DIGIT_BASE - 1, 0], [0, 3]]]))
    metric.update_state([[[0, 0, 1]]], [[[[0.1], [0.1], [0.9]]]])
    np.testing.assert_array_equal(metric.confusion(), [[6 * DIGIT_BASE + 1, 0], [0, 4]])


IDS_OF_ONE_CLASS = np.ones((2, 5, 6), int)
BATCH_SCORES = [IOUScore, FScore, Precision, Recall]
OF_THREE_CLASSES = [*BATCH_SCORES, *(partial(kind, 3) for kind in (MeanIoU, PixelAccuracy, BoundaryFScore))]


@pytest.mark.parametrize("kind", OF_THREE_CLASSES)
def test_score_without_valid_pixels_is_nan(kind):
    assert np.isnan(float(kind(ignore=1)(IDS_OF_ONE_CLASS, PREDICTION)))


@pytest.mark.parametrize("kind", [*BATCH_SCORES, partial(MeanIoU, 3), partial(PixelAccuracy, 3)])
def test_batch_of_one_class_is_scored_by_that_class(kind):
    prediction = np.eye(3)[IDS_OF_ONE_CLASS] * 0.94 + 0.02
    options = {"threshold": 0.5, "smooth": 0} if kind in BATCH_SCORES else {}
    assert float(kind(**options)(IDS_OF_ONE_CLASS, prediction)) == 1


def test_classes_with_only_small_softmax_probabilities_are_absent():
    prediction = np.eye(3)[IDS_OF_ONE_CLASS] * 0.94 + 0.02
    for kind, expected in ((IOUScore, 0.96), (FScore, 2 * 0.96 / 1.96), (Precision, 1.0), (Recall, 0.96)):
        assert float(kind(smooth=0)(IDS_OF_ONE_CLASS, prediction)) == pytest.approx(expected, rel=1e-5)


def test_classes_above_the_threshold_are_present():
    prediction = np.tile([0.3, 0.6, 0.1], (2, 5, 6, 1))  # class 0 also exceeds a threshold of 0.2
    assert float(IOUScore(threshold=0.2)(IDS_OF_ONE_CLASS, prediction)) == pytest.approx((0 + 1) / 2, abs=1e-6)
    assert float(IOUScore(threshold=0.4)(IDS_OF_ONE_CLASS, prediction)) == pytest.approx(1)


def test_precision_without_predictions_and_recall_without_truth_are_1():
    other_class = np.eye(3)[IDS_OF_ONE_CLASS + 1] * 0.94 + 0.02  # class 1 is true, class 2 is predicted
    for kind, score_1, score_2 in ((Precision, 1, 0), (Recall, 0, 1), (IOUScore, 0, 0), (FScore, 0, 0)):
        for channel, expected in ((1, score_1), (2, score_2)):
            metric = kind(class_indexes=channel, threshold=0.5)
            assert float(metric(IDS_OF_ONE_CLASS, other_class)) == pytest.approx(expected, abs=1e-6)
        assert float(kind(threshold=0.5)(IDS_OF_ONE_CLASS, other_class)) == pytest.approx(
            (score_1 + score_2) / 2, abs=1e-6
        )


@pytest.mark.parametrize("kind", [MeanIoU, PixelAccuracy, BoundaryFScore])
@pytest.mark.parametrize("classes", [-1, 0, "3", 2.0])
def test_unusable_class_count_raises_at_construction(kind, classes):
    with pytest.raises(WrongArgument, match=f"^classes={classes!r}: expected .* 1"):
        kind(classes)


def test_beta_that_is_not_a_number_raises_at_construction():
    with pytest.raises(WrongArgument, match=r"^beta='2': expected .*number"):
        FScore(beta="2")


@pytest.mark.parametrize("kind", [IOUScore, SaltScore, lambda **options: MeanIoU(2, **options)])
def test_negative_threshold_raises_at_construction(kind):
    with pytest.raises(WrongArgument, match=r"^threshold=-0.5: expected .* 0"):
        kind(threshold=-0.5)


def test_scores_before_the_first_batch_are_nan():
    assert np.isnan(float(MeanIoU(3).result()))
    assert np.isnan(float(PixelAccuracy(3).result()))


def test_class_count_that_does_not_match_the_channels_is_an_error():
    with pytest.raises(WrongArgument, match=r"^classes=4: expected 3 .* 3 channels"):
        MeanIoU(4).update_state(TRUTH, PREDICTION)
    with pytest.raises(WrongArgument, match=r"^classes=1: expected 2 .* 1 channels"):
        PixelAccuracy(1).update_state(TRUTH, PREDICTION[..., :1])


SOFTMAX = [
    IOUScore([1, 2, 3], [2, 0, 1], threshold=0.4, per_image=True, smooth=0.1, ignore=255, name="mine"),
    FScore(0.5, class_indexes=1),
    Precision(threshold=0.2),
    Recall(smooth=2.0),
    MeanIoU(3, ignore=255, background=True, name="other"),
    PixelAccuracy(3, ignore=1),
    BoundaryFScore(3, tolerance=1, background=True),
    BoundaryFScore(3, name="with_default_tolerance"),
]
SIGMOID = [MeanIoU(2, threshold=0.3), SaltScore(threshold=0.4, ignore=3), BoundaryFScore(2, threshold=0.4), Recall()]


@pytest.mark.parametrize("metric", SOFTMAX + SIGMOID, ids=lambda metric: metric.name)
def test_metric_is_restored_from_its_configuration(metric):
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(restored) is type(metric)
    assert restored.get_config() == metric.get_config()
    prediction = PREDICTION if metric in SOFTMAX else PREDICTION[..., :1]
    truth = TRUTH if metric in SOFTMAX else TRUTH % 2
    metric.reset_state()
    assert float(restored(truth, prediction)) == float(metric(truth, prediction))


@pytest.mark.parametrize("metric", SOFTMAX, ids=lambda metric: metric.name)
def test_sample_weight_is_an_error(metric):
    with pytest.raises(WrongArgument, match=r"^sample_weight=.*class_weights=.*ignore="):
        metric.update_state(TRUTH, PREDICTION, sample_weight=np.ones(2))


@pytest.mark.parametrize(("table", "channels"), [(SOFTMAX, 3), (SIGMOID, 1)])
def test_compiled_network_evaluates_and_saves_every_metric(table, channels, tmp_path):
    keras.utils.set_random_seed(1)
    image = keras.Input((5, 6, 1))
    head = keras.layers.Conv2D(channels, 1, activation="softmax" if channels > 1 else "sigmoid")
    network = keras.Model(image, head(image))
    for metric in table:
        metric.reset_state()
    network.compile("sgd", loss=CategoricalCELoss() if channels > 1 else BinaryCELoss(), metrics=table)
    pixels, truth = np.random.default_rng(1).normal(size=(2, 5, 6, 1)), TRUTH if channels > 1 else TRUTH % 2
    measured = network.evaluate(pixels, truth, verbose=0, return_dict=True)
    prediction = network.predict_on_batch(pixels)
    for metric in table:
        metric.reset_state()
        assert measured[metric.name] == pytest.approx(float(metric(truth, prediction)), rel=1e-5), metric.name
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert loaded.get_compile_config() == network.get_compile_config()
