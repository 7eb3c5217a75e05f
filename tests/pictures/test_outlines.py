"""Polygons of any file, in the pixels of a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import rasterio.warp
import shapely
from affine import Affine
from matplotlib.figure import Figure

from hadgeo.errors import CubeError, CubeNotFoundError
from hadgeo.formats import open_source
from hadgeo.formats.source import Metadata
from hadgeo.pictures.outlines import read_outlines

TURNED = Affine.translation(5e5, 4.5e6) * Affine.rotation(25) * Affine.scale(2, -3)


def scene(folder: Path, transform: Affine | None = TURNED) -> Metadata:
    path = folder / "scene.tif"
    place = {} if transform is None else {"crs": "EPSG:32633", "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", count=1, height=60, width=80, dtype="uint8", **place):
        pass
    return open_source(path).metadata


def write(path: Path, shapes: list[Any], crs: str | None = "EPSG:32633") -> Path:
    drivers = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile"}
    geometry = shapely.to_wkb(np.array(shapes, dtype=object))
    kind = "Polygon" if path.suffix == ".shp" else "Unknown"
    pyogrio.raw.write(path, geometry, [], [], crs=crs, geometry_type=kind, driver=drivers[path.suffix])
    return path


def placed(shape: Any, transform: Affine = TURNED) -> Any:
    """A shape in pixels, in map coordinates."""
    return shapely.transform(shape, lambda xy: np.array([transform @ tuple(corner) for corner in xy]))


def in_degrees(shape: Any) -> Any:
    def move(xy: np.ndarray) -> np.ndarray:
        return np.column_stack(rasterio.warp.transform("EPSG:32633", "EPSG:4326", *xy.T))

    return shapely.transform(shape, move)


@pytest.mark.parametrize("name", ["x.gpkg", "x.shp", "x.geojson"])
def test_outlines_come_in_pixels_of_the_scene_from_any_file(name: str, tmp_path: Path) -> None:
    boxes = [shapely.box(20, 30, 40, 33), shapely.box(1, 2, 3, 9)]
    moved = [placed(box) for box in boxes]
    geographic = name.endswith("geojson")
    path = write(
        tmp_path / name,
        [in_degrees(one) for one in moved] if geographic else moved,
        "EPSG:4326" if geographic else "EPSG:32633",
    )
    found = read_outlines(path, scene(tmp_path))
    assert found.count == 2
    np.testing.assert_array_equal(found.owners, [0, 1])
    for box, ring in zip(boxes, found.rings, strict=True):
        # A pixel here is 2 m by 3 m, and GeoJSON has 7 digits of a degree: a centimetre.
        np.testing.assert_allclose([ring.min(axis=0), ring.max(axis=0)], np.reshape(box.bounds, (2, 2)), atol=0.02)
    np.testing.assert_allclose(found.centres, [[30, 31.5], [2, 5.5]], atol=0.02)
    np.testing.assert_allclose(found.sides, [20, 7], atol=0.02)


def test_holes_and_parts_belong_to_their_polygon(tmp_path: Path) -> None:
    ringed = shapely.box(0, 0, 10, 10) - shapely.box(4, 4, 6, 6)
    parts = shapely.MultiPolygon([shapely.box(20, 20, 21, 21), shapely.box(30, 30, 31, 31)])
    shapes = [placed(ringed), placed(parts), placed(shapely.Point(3, 3))]
    found = read_outlines(write(tmp_path / "x.gpkg", shapes), scene(tmp_path))
    assert sorted(found.owners.tolist()) == [0, 0, 1, 1]
    # A point has no outline, and is there all the same.
    assert found.count == 3
    np.testing.assert_allclose(found.centres[1:], [[25.5, 25.5], [3, 3]], atol=1e-6)


@pytest.mark.parametrize("box", [shapely.box(20, -33, 40, -30), shapely.box(20, 30, 40, 33)])
def test_without_a_place_coordinates_are_pixels(tmp_path: Path, box: shapely.Polygon) -> None:
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        known = scene(tmp_path, None)
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        path = write(tmp_path / "x.gpkg", [box], None)
    found = read_outlines(path, known)
    np.testing.assert_allclose(found.rings[0].max(axis=0), [40, 33])


def test_a_file_without_a_reference_system_is_taken_for_the_scenes(tmp_path: Path) -> None:
    path = write(tmp_path / "x.shp", [placed(shapely.box(20, 30, 40, 33))])
    path.with_suffix(".prj").unlink()
    np.testing.assert_allclose(read_outlines(path, scene(tmp_path)).rings[0].max(axis=0), [40, 33], atol=1e-6)


def test_an_empty_layer_has_no_outlines(tmp_path: Path) -> None:
    found = read_outlines(write(tmp_path / "x.gpkg", []), scene(tmp_path))
    assert (found.count, found.rings) == (0, [])
    axes = Figure().add_axes((0, 0, 1, 1))
    found.draw(axes, "red", 1.0)


def test_small_outlines_are_circled_and_large_ones_drawn(tmp_path: Path) -> None:
    boxes = [placed(shapely.box(20, 30, 40, 33)), placed(shapely.box(1, 2, 3, 4))]
    found = read_outlines(write(tmp_path / "x.gpkg", boxes), scene(tmp_path))
    axes = Figure().add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 80), ylim=(60, 0))
    found.draw(axes, "red", 1.0)
    drawn, circled = axes.collections[-2:]
    assert [path.vertices.max(axis=0).round(3).tolist() for path in drawn.get_paths()] == [[40, 33]]
    np.testing.assert_allclose(circled.get_offsets(), [[2, 3]], atol=1e-6)
    # What is drawn never moves the picture.
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 80), (60, 0))
    found.draw(axes, "red", 10.0)
    assert len(axes.collections[-2].get_paths()) == 2


def test_what_is_no_vector_file_is_refused(tmp_path: Path) -> None:
    known = scene(tmp_path)
    with pytest.raises(CubeNotFoundError, match=r"gone\.gpkg: no such file"):
        read_outlines(tmp_path / "gone.gpkg", known)
    pyogrio.raw.write(
        tmp_path / "odd.gpkg",
        shapely.to_wkb([shapely.box(0, 0, 1, 1)]),
        [np.array(["a name of some length"], dtype=object)],
        ["id"],
        geometry_type="Polygon",
        crs="EPSG:32633",
    )
    content = (tmp_path / "odd.gpkg").read_bytes()
    (tmp_path / "odd.gpkg").write_bytes(content.replace(b"a name of some length", b"\xdc name of some length"))
    with pytest.raises(CubeError, match=r"odd\.gpkg: not a vector file \(bytes that are not UTF-8\)"):
        read_outlines(tmp_path / "odd.gpkg", known)
    (tmp_path / "notes.gpkg").write_text("notes")
    with pytest.raises(CubeError, match=r"notes\.gpkg: not a vector file"):
        read_outlines(tmp_path / "notes.gpkg", known)
