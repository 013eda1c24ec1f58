import numpy as np
import pytest
from PIL import Image

from maskwright.data.augment import Geometry, Light
from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair
from maskwright.data.patches import PairReader, Patches, patches_in
from maskwright.images.normalise import Normalisation

VALUES = MaskValues(words={0: "background", 9: "cell", 200: "ignored"})
NORMALISATION = Normalisation(mean=(0.5,), std=(0.25,))


def make(
    folder,
    sizes,
    *,
    patch=(32, 32),
    batch_size=4,
    seed=0,
    cache_bytes=10**9,
    geometry=Geometry(),
    light=Light(),
    foreground=0.0,
    **more,
):
    """Pairs whose image is 1 where the mask is a cell, and whose grey elsewhere tells which image it is."""
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
        patch=patch,
        batch_size=batch_size,
        seed=seed,
        normalisation=NORMALISATION,
        augmentation=light,
        geometry=geometry,
        foreground=foreground,
        **more,
    )


def test_a_patch_is_a_piece_of_the_image_with_its_labels(tmp_path):
    images, masks = make(tmp_path, [(40, 50)]).batch(0)
    assert images.shape == (4, 32, 32, 1)
    assert images.dtype == np.float32
    assert set(np.unique(masks)) == {0, 1, 255}  # background, cell, ignored
    np.testing.assert_allclose(images[..., 0][masks == 1], (1 - 0.5) / 0.25)
    np.testing.assert_allclose(images[..., 0][masks != 1], (0 - 0.5) / 0.25)


def test_a_batch_depends_on_seed_and_step_alone(tmp_path):
    sizes = [(40, 50), (64, 64), (33, 90)]
    changes = {"geometry": Geometry("horizontal", zoom=0.3, rotation=5), "light": Light(brightness=0.2, contrast=0.1)}
    one, other = (make(tmp_path, sizes, **changes, cache_bytes=room) for room in (10**9, 0))
    expected = [one.batch(step) for step in range(5)]
    for step in (4, 0, 2):  # in another order, by another object, without a cache
        np.testing.assert_array_equal(other.batch(step)[0], expected[step][0])
        np.testing.assert_array_equal(other.batch(step)[1], expected[step][1])
    assert (make(tmp_path, sizes, **changes, seed=1).batch(0)[0] != expected[0][0]).any()


def cells_in_corners(folder, **options):
    """One image of 200 x 300 whose mask is ignored all over but for background, and cells at two corners."""
    patches = make(folder, [(200, 300)], batch_size=200, **options)
    mask = np.zeros((200, 300), np.uint8)
    mask[:50] = 200
    mask[:2, -3:] = 9
    mask[-1, 0] = 9
    Image.fromarray(mask).save(folder / "0_mask.png")
    return patches


def test_a_share_of_the_patches_is_laid_on_a_class(tmp_path):
    shown = {
        share: (cells_in_corners(tmp_path, foreground=share).batch(0)[1] == 1).any(axis=(1, 2)).mean()
        for share in (0.0, 0.5, 1.0)
    }
    assert shown[0.0] < 0.05
    assert 0.4 < shown[0.5] < 0.6
    assert shown[1.0] == 1.0


def test_a_class_is_not_always_in_the_middle_of_its_patch(tmp_path):
    _, masks = make(tmp_path, [(200, 300)], batch_size=300, foreground=1.0).batch(0)  # cells, a third of the pixels
    everywhere = (masks == 1).mean(axis=0)
    assert everywhere.min() > 0.2
    assert everywhere.max() < 0.5


@pytest.mark.parametrize("size", [(20, 300), (200, 20), (10, 10), (32, 32)])
def test_a_class_is_found_in_images_lower_or_narrower_than_a_patch(tmp_path, size):
    images, masks = make(tmp_path, [size], batch_size=20, foreground=1.0).batch(0)
    assert images.shape == (20, 32, 32, 1)
    assert (masks == 1).any(axis=(1, 2)).all()


def test_an_image_of_one_class_is_shown_as_it_is(tmp_path):
    with_share, without = make(tmp_path, [(64, 64)], foreground=1.0), make(tmp_path, [(64, 64)])
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(tmp_path / "0_mask.png")
    np.testing.assert_array_equal(with_share.batch(0)[1], without.batch(0)[1])


def test_the_stream_goes_on_where_it_is_told(tmp_path):
    patches = make(tmp_path, [(40, 50), (64, 64)])
    stream = patches.stream(3)
    for step in (3, 4, 5):
        np.testing.assert_array_equal(next(stream)[0], patches.batch(step)[0])
    stream.close()


def test_a_failure_in_the_thread_reaches_the_caller(tmp_path):
    patches = make(tmp_path, [(40, 50)], cache_bytes=0)
    (tmp_path / "0_image.png").unlink()
    with pytest.raises(ValueError, match=r"0_image\.png"):
        next(patches.stream(0))


def test_an_epoch_shows_each_image_as_often_as_patches_fit(tmp_path):
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


def test_a_smaller_image_is_reflected_up_to_the_patch(tmp_path):
    patches = make(tmp_path, [(10, 20)], patch=(32, 32), batch_size=1)
    images, masks = _raw(patches, 0)
    np.testing.assert_array_equal(masks[0, 10:19], masks[0, 8::-1][:9])
    np.testing.assert_array_equal(images[0][:, 20:32], images[0][:, 18:6:-1])


@pytest.mark.parametrize(("size", "count"), [((1, 1), 1), ((32, 32), 1), ((33, 32), 2), ((96, 96), 9)])
def test_patches_in_an_image(size, count):
    assert patches_in(size, (32, 32)) == count


def test_a_smaller_size_shows_the_same_places(tmp_path):
    patches = make(tmp_path, [(200, 300)], patch=(96, 96), geometry=Geometry("horizontal", zoom=0.3))
    (tmp_path / "0_mask.png").unlink()
    blocks = np.random.default_rng(0).choice([0, 9], (10, 15)).astype(np.uint8).repeat(20, axis=0).repeat(20, axis=1)
    Image.fromarray(blocks).save(tmp_path / "0_mask.png")
    _, whole = patches.batch(3)
    images, half = patches.batch(3, (48, 48))
    assert images.shape == (4, 48, 48, 1)
    assert (half == whole[:, 1::2, 1::2]).mean() > 0.95


def test_the_stream_brings_each_step_to_its_size(tmp_path):
    stream = make(tmp_path, [(40, 50)]).stream(0, size=lambda step: (16, 16) if step < 4 else None)
    assert [next(stream)[0].shape[1] for _ in range(6)] == [16] * 4 + [32] * 2
    stream.close()


def test_zoom_shows_more_or_less_but_never_more_than_there_is(tmp_path):
    patches = make(tmp_path, [(64, 64), (20, 20)], patch=(32, 32), batch_size=60, geometry=Geometry(zoom=3.0))
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    Image.fromarray(ramp).save(tmp_path / "0_image.png")
    images, _ = patches.augmented(0)
    shown = np.array([image.max() - image.min() for image in images[..., 0]]) * 255 / 4  # columns in view, less one
    shown = shown[shown > 1]
    assert shown.min() < 12  # a zoom of 4 shows 8 columns
    assert 55 < shown.max() <= 63  # and one of 1/4 would show 128


def test_patches_are_laid_on_what_is_sought_from_a_step_on(tmp_path):
    patches, before = cells_in_corners(tmp_path), cells_in_corners(tmp_path)
    patches.seek([(1, [1]), (2, [0])], share=0.5)
    np.testing.assert_array_equal(patches.batch(0)[1], before.batch(0)[1])
    shown = [(patches.batch(step)[1] == 1).any(axis=(1, 2)).mean() for step in (1, 2)]
    assert 0.4 < shown[0] < 0.6
    assert shown[1] < 0.05


def drawn_places(folder, size):
    """An image whose two channels are its rows and columns, so that a patch tells where it was cut."""
    rows, columns = (np.broadcast_to(axis, size) for axis in np.ogrid[: size[0], : size[1]])
    Image.fromarray(np.stack([rows, columns, rows], axis=-1).astype(np.uint8)).save(folder / "places.png")
    Image.fromarray(np.zeros(size, np.uint8)).save(folder / "mask.png")
    pair = Pair("places", folder / "places.png", folder / "mask.png")
    return PairReader([pair], channels=3, mask_values=VALUES, cache_bytes=10**9)


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("geometry", [Geometry(), Geometry("horizontal_and_vertical", zoom=0.3, rotation=20)])
def test_a_patch_knows_where_its_pixels_lie_in_the_whole_image_however_it_looks_at_it(tmp_path, scale, geometry):
    size = (200, 240)
    patches = Patches(
        drawn_places(tmp_path, size),
        sizes=[size],
        patch=(64, 96),
        batch_size=6,
        seed=0,
        normalisation=Normalisation(mean=(0.0,) * 3, std=(1 / 255,) * 3),
        augmentation=Light(),
        geometry=geometry,
        scale=scale,
        position=("row", "column", "row_times_image"),
    )
    images, _ = patches.batch(0)
    assert images.shape == (6, 64, 96, 8)
    for channel, side in ((0, size[0]), (1, size[1])):
        told = (images[..., 3 + channel] + 1) / 2 * side - 0.5
        np.testing.assert_allclose(told, images[..., channel], atol=1.6)  # the image is of whole numbers
    np.testing.assert_allclose(images[..., 5:], images[..., :3] * images[..., 3:4], atol=1e-4)
    shown = np.ptp(patches.plain(0)[..., 0], axis=(1, 2))
    np.testing.assert_allclose(shown, 64 / scale - 1, atol=2)


def test_an_image_resized_to_the_patch_is_shown_whole(tmp_path):
    size = (101, 101)
    patches = Patches(
        drawn_places(tmp_path, size),
        sizes=[size],
        patch=(128, 128),
        batch_size=2,
        seed=0,
        normalisation=Normalisation(mean=(0.0,) * 3, std=(1 / 255,) * 3),
        augmentation=Light(),
        scale=128 / 101,
    )
    plain = patches.plain(0)
    assert plain.shape == (2, 128, 128, 3)
    for row, value in ((0, 0), (-1, 100)):
        np.testing.assert_allclose(plain[:, row, :, 0], value, atol=1)
        np.testing.assert_allclose(plain[:, :, row, 1], value, atol=1)
