"""Polygons match regions counted by hand, and give the mask when rasterised."""

import json

import numpy as np
import pytest
import tifffile

from maskwright.images.labels import Label
from maskwright.images.windows.polygons import write_polygons

rasterio = pytest.importorskip("rasterio")
from rasterio.features import rasterize  # noqa: E402
from rasterio.transform import Affine  # noqa: E402
from rasterio.warp import transform  # noqa: E402

LABELS = [Label(name="cell", value=1, colour=(1, 2, 3)), Label(name="Kern ü", value=2, colour=(3, 2, 1))]


def painted():
    ids = np.zeros((40, 50), np.uint8)
    ids[2:12, 3:18] = 1  # with a hole
    ids[5:7, 6:10] = 2
    ids[12:20, 18:25] = 1  # touches the first by a corner only
    ids[30:40, 40:50] = 255  # no label
    return ids


def area(ring):
    (xs, ys) = np.array(ring).T
    return (xs[:-1] * ys[1:] - xs[1:] * ys[:-1]).sum() / 2


def features(path, ids, **profile):
    with rasterio.open(path, "w", driver="GTiff", height=40, width=50, count=1, dtype="uint8", **profile) as file:
        file.write(ids, 1)
    count = write_polygons(path, path.with_suffix(".geojson"), LABELS)
    found = json.loads(path.with_suffix(".geojson").read_text(encoding="utf-8"))
    assert found["type"] == "FeatureCollection"
    assert len(found["features"]) == count
    return found["features"]


def test_each_region_is_a_feature_with_its_class(tmp_path):
    found = features(tmp_path / "a.tif", painted())
    assert sorted((f["properties"]["value"], f["properties"]["class"]) for f in found) == [
        (1, "cell"),
        (1, "cell"),
        (2, "Kern ü"),
    ]
    outlines = sorted(tuple(area(ring) for ring in f["geometry"]["coordinates"]) for f in found)
    assert outlines == [(8.0,), (56.0,), (150.0, -8.0)]  # outlines counterclockwise, the hole clockwise


def test_rasterised_polygons_are_the_mask(tmp_path):
    ids = np.kron(np.random.default_rng(0).integers(0, 3, (10, 10)), np.ones((4, 5))).astype(np.uint8)
    found = features(tmp_path / "a.tif", ids)
    again = rasterize([(f["geometry"], f["properties"]["value"]) for f in found], ids.shape, dtype="uint8")
    np.testing.assert_array_equal(again, ids)


def test_coordinates_of_a_georeferenced_mask_are_degrees(tmp_path):
    place = Affine(10, 0, 500000, 0, -10, 5400000)
    found = features(tmp_path / "a.tif", painted(), crs="EPSG:32633", transform=place, nodata=255)
    assert all(area(f["geometry"]["coordinates"][0]) > 0 for f in found)
    (nucleus,) = (f for f in found if f["properties"]["value"] == 2)
    corners = [place @ corner for corner in ((6, 5), (10, 5), (10, 7), (6, 7))]
    xs, ys = zip(*corners, strict=True)
    expected = np.column_stack(transform("EPSG:32633", "EPSG:4326", xs, ys))
    ring = np.array(nucleus["geometry"]["coordinates"][0])
    assert len(ring) == 5
    assert np.abs(ring[:, None] - expected).sum(-1).min(0).max() < 1e-8


def test_a_region_across_the_180th_meridian_is_cut(tmp_path):
    (x,), (y,) = transform("EPSG:4326", "EPSG:32601", [180.0], [10.0])
    ids = np.zeros((40, 50), np.uint8)
    ids[10:20, 10:40] = 1
    place = Affine(1000, 0, x - 25000, 0, -1000, y)  # the meridian runs through the middle
    (found,) = features(tmp_path / "a.tif", ids, crs="EPSG:32601", transform=place)
    assert found["geometry"]["type"] == "MultiPolygon"
    west, east = sorted((np.array(polygon[0]) for polygon in found["geometry"]["coordinates"]), key=lambda r: r.min())
    assert area(west) > 0
    assert area(east) > 0
    assert west[:, 0].min() == -180
    assert east[:, 0].max() == 180
    assert np.ptp(west[:, 0]) < 1
    assert np.ptp(east[:, 0]) < 1


def test_pixels_without_data_are_left_out(tmp_path):
    found = features(tmp_path / "a.tif", painted(), nodata=2)
    assert {f["properties"]["value"] for f in found} == {1}


def test_a_mask_without_regions_gives_an_empty_collection(tmp_path):
    assert features(tmp_path / "a.tif", np.zeros((40, 50), np.uint8)) == []


def test_a_missing_rasterio_is_an_error(tmp_path, monkeypatch):
    import sys

    from maskwright.errors import MissingPackage

    tifffile.imwrite(tmp_path / "a.tif", painted())
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingPackage, match=r"a\.tif requires rasterio .*maskwright\[geo\]"):
        write_polygons(tmp_path / "a.tif", tmp_path / "a.geojson", LABELS)
    assert not (tmp_path / "a.geojson").exists()
