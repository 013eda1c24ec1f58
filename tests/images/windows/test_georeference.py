"""GDAL reads the same georeference from a source and its result."""

import numpy as np
import pytest

from maskwright.images.windows.source import open_source
from maskwright.images.windows.write_tiff import write_tiff
from tests.images.painted import noise

rasterio = pytest.importorskip("rasterio")
from rasterio.control import GroundControlPoint  # noqa: E402
from rasterio.transform import Affine, from_gcps  # noqa: E402

RGB = noise(600, 700, 3)
UTM = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500000.25, 0, -0.5, 5400000.75)}
TURNED = {"crs": "EPSG:32633", "transform": Affine(0.4, 0.3, 500000.25, 0.3, -0.4, 5400000.75)}
OWN = {
    "crs": "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80 +units=m",
    "transform": Affine(10, 0, 4e6, 0, -10, 3e6),
}


def create(path, *, driver="GTiff", nodata=None, **options):
    with rasterio.open(
        path, "w", driver=driver, height=600, width=700, count=3, dtype="uint8", nodata=nodata, **options
    ) as file:
        file.write(np.moveaxis(RGB, -1, 0))
    return path


def zeros(height, width, tile):
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            yield np.zeros((min(tile, height - top), min(tile, width - left)), np.uint8)


def carried_over(path, out):
    with open_source(path) as source:
        pixels = source.read(slice(0, 600), slice(0, 700))
        write_tiff(
            out,
            zeros(600, 700, 256),
            height=600,
            width=700,
            bands=1,
            dtype="uint8",
            tile=256,
            georeference=source.georeference,
            nodata=source.nodata,
        )
    return pixels


@pytest.mark.parametrize(
    "options", [UTM, TURNED, OWN, {"crs": "EPSG:4326", "transform": Affine(1e-5, 0, 15, 0, -1e-5, 50)}]
)
@pytest.mark.parametrize(
    "form", [{}, {"tiled": True, "compress": "lzw"}, {"interleave": "band", "blockysize": 5}], ids=str
)
def test_transform_and_coordinate_system(tmp_path, options, form):
    path = create(tmp_path / "a.tif", nodata=255, **options, **form)
    np.testing.assert_array_equal(carried_over(path, tmp_path / "b.tif"), RGB)
    with rasterio.open(path) as source, rasterio.open(tmp_path / "b.tif") as result:
        assert result.transform == source.transform
        assert result.crs == source.crs
        assert result.nodata == 255
        assert result.bounds == source.bounds


def test_a_cloud_optimised_geotiff(tmp_path):
    path = create(tmp_path / "a.tif", driver="COG", compress="deflate", blocksize=128, **UTM)
    with rasterio.open(path) as source:
        assert source.overviews(1)  # it is a pyramid
    with open_source(path) as source:
        assert source.block == (128, 128)
    np.testing.assert_array_equal(carried_over(path, tmp_path / "b.tif"), RGB)
    with rasterio.open(tmp_path / "b.tif") as result:
        assert result.transform == UTM["transform"]


def test_control_points(tmp_path):
    points = [
        GroundControlPoint(row, column, 15 + column / 1e4, 50 - row / 1e4)
        for row, column in ((0, 0), (0, 600), (500, 0))
    ]
    path = create(tmp_path / "a.tif", gcps=points, crs="EPSG:4326")
    carried_over(path, tmp_path / "b.tif")
    with rasterio.open(path) as source, rasterio.open(tmp_path / "b.tif") as result:
        assert from_gcps(result.gcps[0]) == from_gcps(source.gcps[0])
        assert len(result.gcps[0]) == 3


def test_sparse_tiles_of_gdal(tmp_path):
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=64, width=64, count=1, dtype="uint8", tiled=True,
        blockxsize=16, blockysize=16, sparse_ok=True, nodata=7,
    ) as file:  # fmt: skip
        file.write(np.full((16, 16), 3, np.uint8), 1, window=rasterio.windows.Window(16, 32, 16, 16))
    with rasterio.open(tmp_path / "a.tif") as file, open_source(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.read(slice(0, 64), slice(0, 64))[..., 0], file.read(1))


def test_the_orientation_of_a_georeferenced_image_is_ignored(tmp_path):
    path = create(tmp_path / "a.tif", **UTM)
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        tags = open_source(path).georeference.tags
        tifffile.imwrite(
            tmp_path / "b.tif", tiff.asarray(), extratags=[(274, "H", 1, 6), *((*tag, True) for tag in tags)]
        )
    with open_source(tmp_path / "b.tif") as source:
        assert (source.height, source.width) == (600, 700)


def test_an_image_without_georeference_has_none(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", RGB)
    with open_source(tmp_path / "a.tif") as source:
        assert source.georeference is None
