"""Write the regions of a mask as polygons in GeoJSON (RFC 7946)."""

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

_BATCH_SIZE: Final = 1000  # number of polygons whose coordinates are transformed in one call
_DECIMALS: Final = 9  # decimal places of a degree; the last is about a tenth of a millimetre
_WGS84: Final = "EPSG:4326"

Ring = list[tuple[float, float]]
Feature = dict[str, Any]


def write_polygons(ids_tiff: str | Path, out_geojson: str | Path, labels: Sequence[Label]) -> int:
    """Write each 4-connected region of an id mask as a GeoJSON feature, and return the number of features.

    A feature has the properties ``class`` (the name of the label) and ``value`` (its id). Ids without a label and
    pixels without data are omitted. Coordinates are WGS84 longitudes and latitudes, as the format requires, if the TIFF
    has a coordinate system. Otherwise, they are in the units of its transformation, or in pixels (columns and rows) if
    it has no transformation. Memory use depends on the number of corners, not on the number of pixels.

    Raises:
        MissingPackage: rasterio is not installed.
        OSError: The disk is full; the error names ``out_geojson``.
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
        warnings.simplefilter(
            "ignore", rasterio.errors.NotGeoreferencedWarning
        )  # the coordinates are then columns and rows
        ids = rasterio.open(mask)
    with ids:
        found = shapes(rasterio.band(ids, 1), connectivity=4, transform=ids.transform)
        regions = ((shape, int(value)) for shape, value in found if value != ids.nodata and value in names)
        while batch := list(islice(regions, _BATCH_SIZE)):
            geometries = [shape for shape, _ in batch]
            if ids.crs:
                geometries = transform_geom(ids.crs, _WGS84, geometries, precision=_DECIMALS)
            for geometry, (_, value) in zip(geometries, batch, strict=True):
                yield _feature(geometry, names[value], value)


def _feature(geometry: dict[str, Any], name: str, value: int) -> Feature:
    """Return a region as a feature; as the format requires, rasterio cuts regions that cross the 180th meridian."""
    kind, coordinates = geometry["type"], geometry["coordinates"]
    is_multi = kind == "MultiPolygon"
    oriented = [_oriented_polygon(polygon) for polygon in coordinates] if is_multi else _oriented_polygon(coordinates)
    return {
        "type": "Feature",
        "properties": {"class": name, "value": value},
        "geometry": {"type": kind, "coordinates": oriented},
    }


def _oriented_polygon(polygon: list[Ring]) -> list[Ring]:
    outer, *holes = polygon
    return [_oriented(outer, counterclockwise=True), *(_oriented(hole, counterclockwise=False) for hole in holes)]


def _oriented(ring: Ring, *, counterclockwise: bool) -> Ring:
    """Return the ring in counterclockwise or clockwise order, as the format requires for outlines and holes."""
    x_origin, y_origin = ring[0]  # relative coordinates avoid cancellation for small areas
    relative = [(x - x_origin, y - y_origin) for x, y in ring]
    doubled_area = sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairwise(relative))
    return ring if (doubled_area > 0) == counterclockwise else ring[::-1]
