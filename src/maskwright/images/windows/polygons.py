"""Regions of a mask as polygons, in GeoJSON (RFC 7946)."""

import json
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

from maskwright.errors import missing_package
from maskwright.images.disk_full import naming_full_disk
from maskwright.images.labels import Label
from maskwright.images.write import atomic_path

_TOGETHER: Final = 1000  # polygons whose coordinates are converted in one call
_DECIMALS: Final = 9  # of a degree: a tenth of a millimetre
_WGS84: Final = "EPSG:4326"

Ring = list[tuple[float, float]]
Feature = dict[str, Any]


def write_polygons(ids_tiff: str | Path, out_geojson: str | Path, labels: Sequence[Label]) -> int:
    """Write each connected region of a mask of ids as one feature, and return their number.

    Pixels are connected by their sides. A feature has the properties ``class`` (the label's name) and ``value`` (its
    id); ids of no label, and pixels without data, make none. Coordinates are longitudes and latitudes on WGS84 if
    the TIFF has a coordinate system, as the format demands; else those of its transformation, or columns and rows
    where there is none. Memory grows with the number of corners, not with that of pixels.

    Raises:
        MissingPackage: there is no rasterio to find them with.
        OSError: the disk is full; the error names ``out``.
    """
    mask, out = Path(ids_tiff), Path(out_geojson)
    names = {label.value: label.name for label in labels}
    count = 0
    with (
        naming_full_disk(out),
        atomic_path(out) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as stream,
    ):
        stream.write('{"type": "FeatureCollection", "features": [')
        for feature in _features(mask, names):
            stream.write(f"{',' if count else ''}\n{json.dumps(feature, ensure_ascii=False)}")
            count += 1
        stream.write("\n]}\n")
    return count


def _features(mask: Path, names: dict[int, str]) -> Iterator[Feature]:
    try:
        import rasterio
        from rasterio.features import shapes
        from rasterio.warp import transform_geom
    except ImportError as error:
        raise missing_package(f"Polygons of {mask}", "rasterio", install="maskwright[geo]", reason=error) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # columns and rows are meant then
        ids = rasterio.open(mask)
    with ids:
        found = shapes(rasterio.band(ids, 1), connectivity=4, transform=ids.transform)
        regions = ((shape, int(value)) for shape, value in found if value != ids.nodata and value in names)
        while batch := list(islice(regions, _TOGETHER)):
            geometries = [shape for shape, _ in batch]
            if ids.crs:
                geometries = transform_geom(ids.crs, _WGS84, geometries, precision=_DECIMALS)
            for geometry, (_, value) in zip(geometries, batch, strict=True):
                yield _feature(geometry, names[value], value)


def _feature(geometry: dict[str, Any], name: str, value: int) -> Feature:
    """A region; one across the 180th meridian comes cut in two, as the format wants it."""
    kind, coordinates = geometry["type"], geometry["coordinates"]
    wound = [_wound(polygon) for polygon in coordinates] if kind == "MultiPolygon" else _wound(coordinates)
    return {
        "type": "Feature",
        "properties": {"class": name, "value": value},
        "geometry": {"type": kind, "coordinates": wound},
    }


def _wound(polygon: list[Ring]) -> list[Ring]:
    outer, *holes = polygon
    return [_turned(outer, left=True), *(_turned(hole, left=False) for hole in holes)]


def _turned(ring: Ring, *, left: bool) -> Ring:
    """The ring run through counterclockwise, or else clockwise, as the format wants outlines and holes."""
    left_of, below = ring[0]  # coordinates from here on, lest large ones leave no digits for a small area
    near = [(x - left_of, y - below) for x, y in ring]
    doubled_area = sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairwise(near))
    return ring if (doubled_area > 0) == left else ring[::-1]
