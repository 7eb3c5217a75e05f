"""Anomalies as polygons with attributes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from hadgeo.decisions.calibration import Calibration
from hadgeo.decisions.groups import Group, Groups, Integers, Pixels, joined
from hadgeo.decisions.layers import Geometries, Layer, Table, check_suffix
from hadgeo.decisions.objects import GROW_PFA, Merge, find_objects
from hadgeo.errors import CubeWarning, ParameterError
from hadgeo.files import sha256_of
from hadgeo.grid import Grid, Values
from hadgeo.maps.polygon_fields import FIELDS, MAP_FIELD
from hadgeo.maps.reader import ScoreMap
from hadgeo.progress import SILENT, Progress


@dataclass(frozen=True)
class Anomalies:
    """What stands out in a map, the most significant first.

    Attributes:
        groups: The pixels of each.
        outlines: (group,) multi-polygons along the edges of the pixels, in the map's coordinate system; in columns and
            rows, the rows with a minus, where it has none.
        grid: The map's.
        p_values: The share of background groups that are as strong as each; without growth, of background pixels that
            reach its largest score.
        expected_false_alarms: How many background groups of such a scene are; without growth, background pixels.
        peak_p_values: The share of background pixels that reach each one's largest score.
        detector: The detector's name, or an empty text.
        grown_to: The lowest score of a pixel that they could grow into; None without growth.
        map_sha256: Hash of the map's file, by which it is known which map they belong to; empty where none is known.
    """

    groups: Groups
    outlines: Geometries
    grid: Grid
    p_values: npt.NDArray[np.float64]
    expected_false_alarms: npt.NDArray[np.float64]
    peak_p_values: npt.NDArray[np.float64]
    detector: str
    grown_to: float | None = None
    map_sha256: str = ""

    def __len__(self) -> int:
        return len(self.groups)

    def __repr__(self) -> str:
        return f"Anomalies({len(self)} groups of {len(self.groups.pixels)} pixels, detector={self.detector!r})"


def find_anomalies(
    scores: ScoreMap,
    threshold: float,
    calibration: Calibration,
    *,
    connectivity: int = 8,
    min_pixels: int = 1,
    merge_distance: float = 0.0,
    grow_pfa: float = GROW_PFA,
    background: Calibration | None = None,
    progress: Progress = SILENT,
) -> Anomalies:
    """Find the connected groups around the pixels that reach a threshold; see `hadgeo.decisions.objects`.

    Args:
        scores: The map.
        threshold: From which score on, itself included, pixels stand out.
        calibration: The map's, for p-values.
        connectivity: 4, neighbours share a side, or 8, they may touch at a corner.
        min_pixels: Smaller anomalies are left out, after merging.
        merge_distance: Groups whose outlines are at most so far apart are one anomaly: metres, or the units of the grid
            where the map has no coordinate system.
        grow_pfa: They grow through neighbouring pixels whose p-value is at most this; 0 for no growth.
        background: What the strength of a group means; by default that is asked of the groups of this map.
        progress: Follows the reading and may cancel it.

    Returns:
        The groups, their outlines and their p-values, the most significant first; without growth, the largest score.

    Raises:
        ParameterError: An option is out of bounds, or more than `hadgeo.decisions.groups.MAX_PIXELS` stand out.
        ReadError: The file is damaged.
        Cancelled: `progress` asked for it.

    Examples:
        >>> scores = open_scores("line_anomaly.tif")
        >>> calibration = calibrate(scores)
        >>> found = find_anomalies(scores, calibration.threshold(Rule(pfa=1e-4)), calibration)
        >>> write_polygons(found, "anomalies.gpkg")
        PosixPath('anomalies.gpkg')
    """
    if not 0 <= merge_distance < np.inf:
        raise ParameterError(f"merge_distance must be at least 0, not {merge_distance:g}")
    found = find_objects(
        scores,
        threshold,
        calibration,
        connectivity=connectivity,
        min_pixels=min_pixels,
        grow_pfa=grow_pfa,
        merge=_merger(scores.grid, merge_distance) if merge_distance else None,
        background=background,
        progress=progress,
    )
    members = np.repeat(np.arange(len(found.groups)), found.groups.sizes)
    return Anomalies(
        found.groups,
        _outlines(found.groups.pixels, members, scores.grid),
        scores.grid,
        found.p_values,
        found.expected_false_alarms,
        calibration.p_values(found.groups.max_scores),
        scores.detector,
        found.grown_to,
        sha256_of(scores.path),
    )


def write_polygons(
    anomalies: Anomalies,
    out: str | os.PathLike[str],
    *,
    bands: Callable[[Group], str | None] | None = None,
    parts: Callable[[Group], str | None] | None = None,
) -> Path:
    """Write anomalies as a vector file, whole or not at all, replacing what was there.

    GeoJSON is in WGS 84, as RFC 7946 demands; the other formats are in the map's coordinate system. The last fields are
    for verdicts, and empty; see `hadgeo.Review`.

    Args:
        anomalies: What `find_anomalies` found; none make an empty layer.
        out: The file; its suffix, ``.gpkg``, ``.geojson`` or ``.parquet``, names the format.
        bands: Says which bands made a group stand out; nothing is said by default.
        parts: Says which parts of a fusion did, likewise.

    Returns:
        The file.

    Raises:
        ParameterError: The suffix is unknown.
        MissingExtraError: It is GeoParquet, and pyarrow is not installed.
        OutputError: The file cannot be written.
    """
    out = Path(out)
    check_suffix(out)
    missing = _missing(anomalies.grid)
    if missing is not None:
        warnings.warn(f"{out}: {missing}", CubeWarning, stacklevel=2)
    write_layer(described(anomalies, bands=bands, parts=parts), anomalies.outlines, anomalies.grid, out)
    return out


def described(
    anomalies: Anomalies,
    *,
    bands: Callable[[Group], str | None] | None = None,
    parts: Callable[[Group], str | None] | None = None,
) -> Table:
    """`attributes`, why anomalies stand out, which map they belong to, and empty fields for verdicts.

    Args:
        anomalies: What `find_anomalies` found.
        bands: As for `write_polygons`.
        parts: Likewise.
    """
    table = attributes(anomalies)
    for name, told in (("bands", bands), ("parts", parts)):
        table[name] = np.array([told(group) if told else None for group in anomalies.groups], dtype=object)
    table[MAP_FIELD] = np.full(len(anomalies), anomalies.map_sha256 or None, dtype=object)
    return table | {name: np.full(len(anomalies), None, dtype=object) for name in FIELDS}


def write_layer(table: Table, outlines: Geometries, grid: Grid, out: Path) -> None:
    """Write outlines with their attributes and empty fields for verdicts, whole or not at all, over what was there.

    Args:
        table: The attributes, `attributes` and more.
        outlines: In the coordinate system of the grid.
        grid: Whose system that is; GeoJSON is in WGS 84 wherever that is known.
        out: The file.

    Raises:
        ParameterError: The suffix is unknown.
        MissingExtraError: It is GeoParquet, and pyarrow is not installed.
        OutputError: The file cannot be written.
    """
    driver = check_suffix(out)
    table = table | {name: np.full(len(outlines), None, dtype=object) for name in FIELDS}
    degrees = _in_degrees(outlines, grid) if driver == "GeoJSON" else None
    crs = grid.proj if degrees is None else pyproj.CRS("EPSG:4326")
    layer = Layer(table, outlines if degrees is None else degrees, crs)
    layer.write(out, "--polygons")


def _missing(grid: Grid) -> str | None:
    """What polygons on this grid lack, for people."""
    if grid.crs is None:
        return (
            "the scene has no coordinate reference system, so the polygons have none either; areas, longitudes and "
            "latitudes are empty"
        )
    if grid.on_earth:
        return None
    lost = "longitudes and latitudes are empty"
    if _own_areas(grid):
        lost += "; area_m2 is empty too, and area is in squared units of the coordinates"
    return f"the scene's coordinate reference system is not on Earth: {lost}"


def _own_areas(grid: Grid) -> bool:
    """Whether areas are known in squared units of a coordinate system, but not in square metres."""
    return grid.crs is not None and grid.unit is None and not grid.on_earth


def _merger(grid: Grid, distance: float) -> Merge:
    """What numbers groups anew, those alike whose outlines are near each other."""

    def merge(pixels: Pixels, labels: Integers) -> Integers:
        if not len(pixels):
            return labels
        order = np.argsort(labels, kind="stable")
        outlines = moved(_outlines(pixels[order], labels[order], grid), grid.to_metres)
        pairs = shapely.STRtree(outlines).query(outlines, predicate="dwithin", distance=distance)
        return joined(len(outlines), pairs)[labels]

    return merge


def moved(outlines: Geometries, move: Callable[[Values, Values], tuple[Values, Values]]) -> Geometries:
    """Outlines whose corners, x and y, were moved."""
    there: Geometries = shapely.transform(outlines, lambda corners: np.column_stack(move(*corners.T)))
    return there


def _outlines(pixels: Pixels, members: Integers, grid: Grid) -> Geometries:
    """Multi-polygons along the edges of each group's pixels.

    Args:
        pixels: Pixels, group by group, and row by row in each.
        members: The group of each, rising from 0 without a gap.
        grid: Where they lie.
    """
    if not len(pixels):
        return np.empty(0, dtype=object)
    # Runs of pixels side by side make fewer rectangles than pixels.
    begins = np.ones(len(pixels), dtype=bool)
    begins[1:] = (np.diff(members) != 0) | (np.diff(pixels.rows) != 0) | (np.diff(pixels.cols) != 1)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(pixels)) - 1
    top = pixels.rows[first]
    boxes = shapely.box(pixels.cols[first], top, pixels.cols[last] + 1, top + 1)
    groups = np.split(boxes, np.flatnonzero(np.diff(members[first])) + 1)
    joint = np.array([own[0] if len(own) == 1 else shapely.union_all(own) for own in groups], dtype=object)
    # Corners between runs that make a straight edge go.
    parts, owner = shapely.get_parts(shapely.simplify(joint, 0), return_index=True)
    return moved(shapely.multipolygons(parts, indices=owner), grid.to_map)


def attributes(anomalies: Anomalies) -> Table:
    """What a layer tells of each anomaly, column by column; NaN and None are unknown."""
    groups, grid = anomalies.groups, anomalies.grid
    count = len(groups)
    members = np.repeat(np.arange(count), groups.sizes)
    cols, rows = (
        np.bincount(members, weights=axis + 0.5, minlength=count) / groups.sizes
        for axis in (groups.pixels.cols, groups.pixels.rows)
    )
    longitude, latitude = grid.to_longitude_latitude(*grid.to_map(cols, rows))
    peak_x, peak_y = grid.to_map(groups.peaks[:, 1] + 0.5, groups.peaks[:, 0] + 0.5)
    return {
        "id": np.arange(1, count + 1),
        "pixels": groups.sizes.astype(np.int64),
        "area_m2": _areas(anomalies),
        **({"area": groups.sizes * grid.cell_area} if _own_areas(grid) else {}),
        "max_score": groups.max_scores.astype(np.float64),
        "mean_score": groups.mean_scores,
        "p_value": anomalies.p_values,
        "expected_false_alarms": anomalies.expected_false_alarms,
        "peak_p_value": anomalies.peak_p_values,
        "lon": longitude,
        "lat": latitude,
        "peak_x": peak_x,
        "peak_y": peak_y,
        "peak_row": groups.peaks[:, 0],
        "peak_col": groups.peaks[:, 1],
        "detector": np.full(count, anomalies.detector or None, dtype=object),
    }


def _areas(anomalies: Anomalies) -> npt.NDArray[np.float64]:
    """Areas in m²: on the plane of a projection, else on the ellipsoid; NaN where neither is known."""
    grid, sizes = anomalies.grid, anomalies.groups.sizes
    if grid.unit is not None:
        return np.asarray(sizes * (grid.cell_area * grid.unit**2), dtype=np.float64)
    outlines = _in_degrees(anomalies.outlines, grid)
    if outlines is None:
        return np.full(len(sizes), np.nan)
    geod = pyproj.Geod(ellps="WGS84")
    return np.array([abs(geod.geometry_area_perimeter(outline)[0]) for outline in outlines], dtype=np.float64)


def _in_degrees(outlines: Geometries, grid: Grid) -> Geometries | None:
    """Outlines in longitude and latitude; None where a corner has none, as of metres that are called degrees."""
    if not grid.on_earth:
        return None
    there = np.column_stack(grid.to_longitude_latitude(*shapely.get_coordinates(outlines).T))
    return shapely.set_coordinates(outlines.copy(), there) if np.isfinite(there).all() else None
