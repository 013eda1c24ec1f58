"""Batches of patches are reproducible, and image and mask agree in them."""

import numpy as np
import pytest
from PIL import Image

from maskwright.data.augment import GeometricAugmentation, PhotometricAugmentation
from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair
from maskwright.data.patches import PairReader, Patches, patches_in
from maskwright.images.normalise import Normalisation

VALUES = MaskValues(classes_by_value={0: "background", 9: "cell", 200: "ignored"})
NORMALISATION = Normalisation(mean=(0.5,), std=(0.25,))


def make(
    folder,
    sizes,
    *,
    patch_size=(32, 32),
    batch_size=4,
    seed=0,
    cache_bytes=10**9,
    geometry=GeometricAugmentation(),
    photometric=PhotometricAugmentation(),
    foreground_oversampling=0.0,
    **more,
):
    """Pairs whose image is 1 where the mask is a cell, and elsewhere a grey level that identifies the image."""
    pairs = []
    for number, size in enumerate(sizes):
        generator = np.random.default_rng(number)
        mask = generator.choice([0, 9, 200], size).astype(np.uint8)
        image = np.where(mask == 9, 255, 10 * number).astype(np.uint8)
        for kind, pixels in (("image", image), ("mask", mask)):
            Image.fromarray(pixels).save(folder / f"{number}_{kind}.png")
        pairs.append(Pair(str(number), folder / f"{number}_image.png", folder / f"{number}_mask.png"))
    reader = PairReader(pairs, channels=1, mask_values=VALUES, cache_bytes=cache_bytes)
    return Patches(
        reader,
        sizes=sizes,
        patch_size=patch_size,
        batch_size=batch_size,
        seed=seed,
        normalisation=NORMALISATION,
        augmentation=photometric,
        geometry=geometry,
        foreground_oversampling=foreground_oversampling,
        **more,
    )


def test_a_patch_has_the_pixels_and_labels_of_its_image(tmp_path):
    images, masks = make(tmp_path, [(40, 50)]).batch(0)
    assert images.shape == (4, 32, 32, 1)
    assert images.dtype == np.float32
    assert set(np.unique(masks)) == {0, 1, 255}  # background, cell, ignored
    np.testing.assert_allclose(images[..., 0][masks == 1], (1 - 0.5) / 0.25)
    np.testing.assert_allclose(images[..., 0][masks != 1], (0 - 0.5) / 0.25)


def test_a_batch_depends_only_on_seed_and_step(tmp_path):
    sizes = [(40, 50), (64, 64), (33, 90)]
    changes = {
        "geometry": GeometricAugmentation("horizontal", zoom=0.3, rotation=5),
        "photometric": PhotometricAugmentation(brightness=0.2, contrast=0.1),
    }
    cached, uncached = (make(tmp_path, sizes, **changes, cache_bytes=cache_bytes) for cache_bytes in (10**9, 0))
    expected = [cached.batch(step) for step in range(5)]
    for step in (4, 0, 2):  # in another order, by another object, without a cache
        np.testing.assert_array_equal(uncached.batch(step)[0], expected[step][0])
        np.testing.assert_array_equal(uncached.batch(step)[1], expected[step][1])
    assert (make(tmp_path, sizes, **changes, seed=1).batch(0)[0] != expected[0][0]).any()


def cells_in_corners(folder, **options):
    """One image of 200 x 300 with an ignored strip at the top, and cells at two corners."""
    patches = make(folder, [(200, 300)], batch_size=200, **options)
    mask = np.zeros((200, 300), np.uint8)
    mask[:50] = 200
    mask[:2, -3:] = 9
    mask[-1, 0] = 9
    Image.fromarray(mask).save(folder / "0_mask.png")
    return patches


def test_a_fraction_of_the_patches_contains_the_foreground(tmp_path):
    shown = {
        fraction: (cells_in_corners(tmp_path, foreground_oversampling=fraction).batch(0)[1] == 1)
        .any(axis=(1, 2))
        .mean()
        for fraction in (0.0, 0.5, 1.0)
    }
    assert shown[0.0] < 0.05
    assert 0.4 < shown[0.5] < 0.6
    assert shown[1.0] == 1.0


def test_an_oversampled_class_may_lie_anywhere_in_its_patch(tmp_path):
    _, masks = make(tmp_path, [(200, 300)], batch_size=300, foreground_oversampling=1.0).batch(
        0
    )  # cells, a third of the pixels
    everywhere = (masks == 1).mean(axis=0)
    assert everywhere.min() > 0.2
    assert everywhere.max() < 0.5


@pytest.mark.parametrize("size", [(20, 300), (200, 20), (10, 10), (32, 32)])
def test_foreground_is_oversampled_in_images_smaller_than_a_patch(tmp_path, size):
    images, masks = make(tmp_path, [size], batch_size=20, foreground_oversampling=1.0).batch(0)
    assert images.shape == (20, 32, 32, 1)
    assert (masks == 1).any(axis=(1, 2)).all()


def test_images_without_foreground_are_skipped_for_oversampled_patches(tmp_path):
    sizes = [(40, 40)] * 8
    rare, oversampled = (make(tmp_path, sizes, batch_size=100, foreground_oversampling=part) for part in (0.0, 0.5))
    for number in range(1, 8):  # all masks except the first one are empty
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / f"{number}_mask.png")
    shown = [(patches.batch(0)[1] == 1).any(axis=(1, 2)).mean() for patches in (rare, oversampled)]
    assert shown[0] < 0.2
    assert shown[1] == pytest.approx(0.5 + 0.5 / 8, abs=0.15)


def test_oversampling_does_not_change_images_of_one_class(tmp_path):
    oversampled, plain = make(tmp_path, [(64, 64)], foreground_oversampling=1.0), make(tmp_path, [(64, 64)])
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(tmp_path / "0_mask.png")
    np.testing.assert_array_equal(oversampled.batch(0)[1], plain.batch(0)[1])


def test_a_stream_starts_at_the_given_step(tmp_path):
    patches = make(tmp_path, [(40, 50), (64, 64)])
    stream = patches.stream(3)
    for step in (3, 4, 5):
        np.testing.assert_array_equal(next(stream)[0], patches.batch(step)[0])
    stream.close()


def test_an_error_in_the_thread_reaches_the_caller(tmp_path):
    patches = make(tmp_path, [(40, 50)], cache_bytes=0)
    (tmp_path / "0_image.png").unlink()
    with pytest.raises(ValueError, match=r"0_image\.png"):
        next(patches.stream(0))


def test_an_epoch_draws_each_image_as_often_as_patches_fit(tmp_path):
    sizes = [(32, 32), (64, 64), (16, 16)]  # 1, 4 and 1 patches
    patches = make(tmp_path, sizes, batch_size=3)
    assert patches.steps_per_epoch == 2
    greys = [
        int(image[mask != 1].max().round())
        for step in range(2)
        for image, mask in zip(*_raw(patches, step), strict=True)
    ]
    assert sorted(greys) == [0, 10, 10, 10, 10, 20]


def _raw(patches, step):
    images, masks = patches.augmented(step)
    return images[..., 0] * 255, masks


def test_an_image_smaller_than_a_patch_is_extended_by_reflection(tmp_path):
    patches = make(tmp_path, [(10, 20)], patch_size=(32, 32), batch_size=1)
    images, masks = _raw(patches, 0)
    np.testing.assert_array_equal(masks[0, 10:19], masks[0, 8::-1][:9])
    np.testing.assert_array_equal(images[0][:, 20:32], images[0][:, 18:6:-1])


@pytest.mark.parametrize(("size", "count"), [((1, 1), 1), ((32, 32), 1), ((33, 32), 2), ((96, 96), 9)])
def test_patches_in_an_image(size, count):
    assert patches_in(size, (32, 32)) == count


def test_a_smaller_patch_size_covers_the_same_windows(tmp_path):
    patches = make(tmp_path, [(200, 300)], patch_size=(96, 96), geometry=GeometricAugmentation("horizontal", zoom=0.3))
    (tmp_path / "0_mask.png").unlink()
    blocks = np.random.default_rng(0).choice([0, 9], (10, 15)).astype(np.uint8).repeat(20, axis=0).repeat(20, axis=1)
    Image.fromarray(blocks).save(tmp_path / "0_mask.png")
    _, whole = patches.batch(3)
    images, half = patches.batch(3, (48, 48))
    assert images.shape == (4, 48, 48, 1)
    assert (half == whole[:, 1::2, 1::2]).mean() > 0.95


def test_a_stream_resamples_each_step_to_its_size(tmp_path):
    stream = make(tmp_path, [(40, 50)]).stream(0, size=lambda step: (16, 16) if step < 4 else None)
    assert [next(stream)[0].shape[1] for _ in range(6)] == [16] * 4 + [32] * 2
    stream.close()


def test_zoom_never_covers_more_than_the_image(tmp_path):
    patches = make(
        tmp_path, [(64, 64), (20, 20)], patch_size=(32, 32), batch_size=60, geometry=GeometricAugmentation(zoom=3.0)
    )
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    Image.fromarray(ramp).save(tmp_path / "0_image.png")
    images, _ = patches.augmented(0)
    shown = np.array([image.max() - image.min() for image in images[..., 0]]) * 255 / 4  # columns covered, minus one
    shown = shown[shown > 1]
    assert shown.min() < 12  # a zoom of 4 covers 8 columns
    assert 55 < shown.max() <= 63  # a zoom of 1/4 would cover 128


def test_missed_classes_are_oversampled_from_their_first_step(tmp_path):
    patches, before = cells_in_corners(tmp_path), cells_in_corners(tmp_path)
    patches.oversample_missed([(1, [1]), (2, [0])], fraction=0.5)
    np.testing.assert_array_equal(patches.batch(0)[1], before.batch(0)[1])
    shown = [(patches.batch(step)[1] == 1).any(axis=(1, 2)).mean() for step in (1, 2)]
    assert 0.4 < shown[0] < 0.6
    assert shown[1] < 0.05


def coordinate_image(folder, size):
    """An image whose channels are its row and column indices, which identify the pixels of a patch."""
    rows, columns = (np.broadcast_to(axis, size) for axis in np.ogrid[: size[0], : size[1]])
    Image.fromarray(np.stack([rows, columns, rows], axis=-1).astype(np.uint8)).save(folder / "coordinates.png")
    Image.fromarray(np.zeros(size, np.uint8)).save(folder / "mask.png")
    pair = Pair("coordinates", folder / "coordinates.png", folder / "mask.png")
    return PairReader([pair], channels=3, mask_values=VALUES, cache_bytes=10**9)


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize(
    "geometry", [GeometricAugmentation(), GeometricAugmentation("horizontal_and_vertical", zoom=0.3, rotation=20)]
)
def test_coordinate_channels_are_those_of_the_whole_image(tmp_path, scale, geometry):
    size = (200, 240)
    patches = Patches(
        coordinate_image(tmp_path, size),
        sizes=[size],
        patch_size=(64, 96),
        batch_size=6,
        seed=0,
        normalisation=Normalisation(mean=(0.0,) * 3, std=(1 / 255,) * 3),
        augmentation=PhotometricAugmentation(),
        geometry=geometry,
        scale=scale,
        coord_channels=("row", "column", "row_times_image"),
    )
    images, _ = patches.batch(0)
    assert images.shape == (6, 64, 96, 8)
    for channel, side in ((0, size[0]), (1, size[1])):
        restored = (images[..., 3 + channel] + 1) / 2 * side - 0.5
        np.testing.assert_allclose(restored, images[..., channel], atol=1.6)  # the image holds integers
    np.testing.assert_allclose(images[..., 5:], images[..., :3] * images[..., 3:4], atol=1e-4)
    shown = np.ptp(patches.unaugmented(0)[..., 0], axis=(1, 2))
    np.testing.assert_allclose(shown, 64 / scale - 1, atol=2)


def test_an_image_resized_to_the_patch_is_covered_completely(tmp_path):
    size = (101, 101)
    patches = Patches(
        coordinate_image(tmp_path, size),
        sizes=[size],
        patch_size=(128, 128),
        batch_size=2,
        seed=0,
        normalisation=Normalisation(mean=(0.0,) * 3, std=(1 / 255,) * 3),
        augmentation=PhotometricAugmentation(),
        scale=128 / 101,
    )
    images = patches.unaugmented(0)
    assert images.shape == (2, 128, 128, 3)
    for row, value in ((0, 0), (-1, 100)):
        np.testing.assert_allclose(images[:, row, :, 0], value, atol=1)
        np.testing.assert_allclose(images[:, :, row, 1], value, atol=1)
