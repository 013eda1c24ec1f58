"""The effect of borders between blocks on photographs, with an exported network."""

import numpy as np
import pytest
import tifffile

from maskwright.images.windows.source import open_source
from maskwright.inference.engines.engine import open_engine, weights_digest
from maskwright.inference.large.block_predictor import LocalBlockPredictor
from maskwright.inference.large.encoding import Ids
from maskwright.inference.large.predict_large import LargePredictionJob, predict_large
from maskwright.inference.tiling.layout import Layout, lay_out
from maskwright.inference.tiling.window_predictor import WindowPredictor

data = pytest.importorskip("skimage.data", reason="needs the photographs of scikit-image")
pytest.importorskip("openvino", reason="needs an engine")

SIDE, TILE = 1200, 512


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    from maskwright.export.export import export_run
    from tests.export.a_run import build_network, write_run

    network, folder = build_network(), tmp_path_factory.mktemp("mosaic")
    pixels = (data.astronaut()[None] / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.25, 0.3]
    kernel, bias = network.layers[-1].get_weights()
    for _ in range(20):  # makes every class occur in the predictions
        network.layers[-1].set_weights([kernel, bias])
        bias = bias - np.median(np.log(network.predict(pixels, verbose=0)), axis=(0, 1, 2))
    export_run(write_run(folder, network=network), folder / "engine")
    return folder / "engine"


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    rotated = [np.rot90(data.astronaut()[:400, :400], turns) for turns in range(4)] + [data.coffee()[:400, :400]]
    order = np.random.default_rng(0).integers(0, len(rotated), (SIDE // 400, SIDE // 400))
    image = np.concatenate([np.concatenate([rotated[index] for index in row], axis=1) for row in order])
    file = tmp_path_factory.mktemp("images") / "mosaic.tif"
    tifffile.imwrite(file, image, tile=(256, 256), photometric="rgb")
    return file


def opened(engine):
    """The engine with tiles that are small enough to cut the mosaic."""
    network = open_engine(engine)
    network.bundle = network.bundle.model_copy(update={"tile": TILE})
    return network


@pytest.fixture(scope="module")
def whole(engine, mosaic):
    """Mask values of the mosaic predicted in one call."""
    network = opened(engine)
    images = network.bundle.prepare(tifffile.imread(mosaic), file=mosaic)[None]
    values = np.uint8([label.value for label in network.bundle.labels])
    return values[network(images)[0].argmax(axis=-1)]


@pytest.fixture
def predicted(engine, mosaic, tmp_path):
    def predict(margin):
        job = LargePredictionJob(opened(engine), weights_digest(engine), mosaic, margin=margin)
        result = predict_large(job, tmp_path / f"{margin}.tif")
        return result, tifffile.imread(result.written)

    return predict


def test_the_measured_margin_leaves_no_seam_on_photographs(predicted, whole):
    assert (np.bincount(whole.ravel()) > whole.size / 100).sum() > 1  # there are several classes to compare
    result, mask = predicted(None)
    assert (mask != whole).mean() < 1e-4
    assert result.seam_fraction < 1e-3


def test_without_a_margin_there_is_a_seam(predicted, whole):
    result, mask = predicted(0)
    assert (mask != whole).mean() > 1e-4
    assert result.seam_fraction > 1e-3


def test_another_layout_gives_the_same_classes(engine, mosaic, predicted):
    result, mask = predicted(None)
    network = opened(engine)
    layout = lay_out(SIDE, SIDE, multiple=network.bundle.multiple, margin=result.margin, tile=TILE)
    smaller = Layout(**layout.model_dump() | {"kept": (512, 256)})
    other = np.empty_like(mask)
    with open_source(mosaic) as source:
        windows = WindowPredictor(network, source, mosaic)
        predictor = LocalBlockPredictor(windows, Ids(network.bundle))
        for block, part in predictor.predict_blocks(smaller.blocks()):
            other[block.kept] = network.bundle.values(part.values[..., 0])
    assert len(smaller.blocks()) > len(layout.blocks()) > 1
    assert (mask != other).mean() < 1e-4
