"""Which way leads from datum to datum, and how good it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS

from hadgeo.errors import CubeWarning
from hadgeo.evaluation.truth import open_truth
from hadgeo.formats.datum_shift import datum_shift
from hadgeo.grid import Grid
from hadgeo.maps.reader import ScoreMap


def grid(system: str, x: float, y: float) -> Grid:
    return Grid((10, 10), CRS.from_string(system), Affine(2, 0, x, 0, -2, y))


@pytest.mark.parametrize(
    ("own", "other", "x", "y", "name", "accuracy"),
    [
        ("EPSG:32611", "EPSG:4267", 5e5, 3.65e6, "NAD27 to WGS 84", (1, 20)),
        ("EPSG:32632", "EPSG:31467", 5e5, 5.5e6, "DHDN to WGS 84", (1, 5)),
        ("EPSG:25832", "EPSG:4326", 5e5, 5.5e6, "ETRS89 to WGS 84", (0.5, 2)),
    ],
)
def test_the_way_is_named_with_its_accuracy(
    own: str, other: str, x: float, y: float, name: str, accuracy: tuple[float, float]
) -> None:
    shift = datum_shift(other, grid(own, x, y))
    assert shift is not None
    assert name in shift.name
    assert shift.accuracy is not None
    assert accuracy[0] <= shift.accuracy <= accuracy[1]
    assert f"accurate to {shift.accuracy:g} m" in str(shift)
    assert "UTM" not in shift.name


@pytest.mark.parametrize("other", ["EPSG:32632", "EPSG:4326", "EPSG:3857"])
def test_within_one_datum_nothing_is_said(other: str) -> None:
    assert datum_shift(other, grid("EPSG:32632", 5e5, 5.5e6)) is None
    assert datum_shift(other, Grid((3, 3))) is None


@pytest.mark.parametrize("kind", ["polygons", "raster"])
def test_a_truth_in_another_datum_says_so_once(tmp_path: Path, kind: str) -> None:
    own, other = grid("EPSG:32632", 5e5, 5.5e6), CRS.from_epsg(31467)
    scores = ScoreMap(tmp_path / "scores.tif", own)
    x, y = grid("EPSG:31467", 0, 0).from_system("EPSG:32632", *own.corners)
    path = tmp_path / ("truth.gpkg" if kind == "polygons" else "truth.tif")
    if kind == "polygons":
        shape = shapely.to_wkb(np.array([shapely.Polygon(np.column_stack([x, y]))], dtype=object))
        pyogrio.raw.write(path, shape, [np.ones(1)], ["n"], driver="GPKG", geometry_type="Polygon", crs="EPSG:31467")
    else:
        place = Affine(2, 0, x.min() - 10, 0, -2, y.max() + 10)
        with rasterio.open(
            path, "w", driver="GTiff", width=30, height=30, count=1, dtype="uint8", crs=other, transform=place
        ) as dataset:
            dataset.write(np.ones((1, 30, 30), dtype=np.uint8))
    with pytest.warns(
        CubeWarning, match=r"truth.*moved to the other datum by '.*DHDN to WGS 84.*', accurate to"
    ) as said:
        open_truth(path, scores)
    assert len([one for one in said if issubclass(one.category, CubeWarning)]) == 1
