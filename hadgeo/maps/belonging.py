"""Whether a score map belongs to a scene, a detector or polygons, by grids, names, hashes and the scores themselves."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hadgeo.errors import CubeError, CubeWarning, ModelError
from hadgeo.formats.cropped import Cropped
from hadgeo.formats.drivers import check_vector
from hadgeo.formats.source import Source
from hadgeo.maps.reader import ScoreMap

#: Polygons of a file that are looked at; those of another map differ in the first ones already.
_LOOKED_AT = 20

#: Pixels that are less than so much of one apart are the same.
_SAME_PIXELS = 0.05


#: A field that a layer of the objects of many maps has.
_OF_MANY = "line_count"


def scene_of_map(scores: ScoreMap, source: Source, *, sizes: Collection[int] = ()) -> Source:
    """A scene, or the part of it that a map is of, once nothing says that the map is another scene's.

    Args:
        scores: The map; one that was made with an extent is of a part of a scene.
        source: The scene that it shall belong to.
        sizes: Bytes of the files that the map was made from, where its manifest tells them.

    Raises:
        CubeError: Grid, bands or size differ; or the name does, and nothing tells that the place is the same.

    Warns:
        CubeWarning: Neither place nor name is known, or the name alone is another one.
    """
    bands = max((int(number) for number in re.findall(r"\d+", scores.tags.get("HADGEO_BANDS", ""))), default=0)
    if bands > source.shape[0]:
        raise CubeError(
            f"{scores.path} was made from {bands} bands or more, but {source.path} has {source.shape[0]}; give the "
            "scene of this map"
        )
    if sizes and not _same_name(scores, source) and not any(_bytes(path) in sizes for path in source.files):
        raise CubeError(
            f"{_other_name(scores, source)}, and no file of it is as large as those of that run; give the scene of "
            "this map"
        )
    part = part_of(scores, source)
    check_scene(scores, part)
    return part


def check_scene(scores: ScoreMap, source: Source) -> None:
    """Refuse the map of another place; warn where nothing tells, or where the name is another one.

    Args:
        scores: The map.
        source: The scene that it shall belong to, or another file of the same ground.

    Raises:
        CubeError: The grid differs; or the name does, and the place is not known.

    Warns:
        CubeWarning: Neither place nor name is known, or the name alone is another one.
    """
    _check_grid(scores, source)
    placed = source.metadata.grid.georeferenced and scores.grid.georeferenced
    if scores.tags.get("HADGEO_SOURCE") and Path(source.path).name:
        if _same_name(scores, source):
            return
        told = _other_name(scores, source)
        if not placed:
            raise CubeError(f"{told}; give the scene of this map, under the name that it had then")
        warnings.warn(f"{told}, which lies on the same grid", CubeWarning, stacklevel=3)
    elif not placed:
        warnings.warn(
            f"nothing tells whether {scores.path} was made from {source.path}: only rows and columns were compared",
            CubeWarning,
            stacklevel=3,
        )


def _same_name(scores: ScoreMap, source: Source) -> bool:
    return Path(scores.tags.get("HADGEO_SOURCE", "")).stem == Path(source.path).stem


def _other_name(scores: ScoreMap, source: Source) -> str:
    return f"{scores.path} was made from {scores.tags.get('HADGEO_SOURCE', 'elsewhere')}, not from {source.path}"


def _bytes(path: str | os.PathLike[str]) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return -1


def part_of(scores: ScoreMap, source: Source) -> Source:
    """The part of a scene on whose pixels its map lies that was made with an extent; otherwise the scene.

    Args:
        scores: The map.
        source: The scene.
    """
    ours, theirs = source.metadata.grid, scores.grid
    # Of a scene without a transform, a part lies where a GIS draws it.
    placed = theirs.georeferenced and (ours.crs if ours.georeferenced else None) == theirs.crs
    if not placed or ours.shape == theirs.shape or not _same_name(scores, source):
        return source
    cols, rows = ours.to_pixels(*theirs.to_map(np.zeros(1), np.zeros(1)))
    row, col = round(float(rows[0])), round(float(cols[0]))
    inside = 0 <= row <= ours.shape[0] - theirs.shape[0] and 0 <= col <= ours.shape[1] - theirs.shape[1]
    if not inside:
        return source
    part = (slice(row, row + theirs.shape[0]), slice(col, col + theirs.shape[1]))
    cropped = Cropped(source, *part)
    return cropped if cropped.metadata.grid.apart(theirs) < _SAME_PIXELS else source


def _check_grid(scores: ScoreMap, source: Source) -> None:
    rows, cols = source.shape[1:]
    if scores.shape != (rows, cols):
        raise CubeError(
            f"{scores.path}: {scores.shape[0]} x {scores.shape[1]} pixels, but {source.path} has {rows} x {cols}: not "
            f"the grid of this scene; give the scene and its own map"
        )
    ours, theirs = source.metadata.grid, scores.grid
    if ours.georeferenced and theirs.georeferenced:
        elsewhere = ours.crs is not None and theirs.crs is not None and ours.crs != theirs.crs
        # Half a pixel: resampled or rounded grids are the same place.
        if elsewhere or ours.apart(theirs) > 0.5:
            raise CubeError(f"{scores.path}: not the grid of {source.path}; give the score map of this scene")


def check_detector(scores: ScoreMap, name: str, parameters: Mapping[str, Any], digest: str, told: str) -> None:
    """Refuse a detector that is not the one that scored a map.

    Args:
        scores: The map; of one from elsewhere nothing is known.
        name: The detector's name.
        parameters: Its parameters, as JSON can hold them.
        digest: Its `hadgeo.run.model_file.model_hash`.
        told: The file that holds it, for messages.

    Raises:
        ModelError: Detector or parameters differ.

    Warns:
        CubeWarning: The same detector was fitted otherwise.
    """
    if not scores.detector or scores.tags.get("HADGEO_MODEL_HASH") == digest:
        return
    given, used = json.loads(json.dumps(dict(parameters))), json.loads(scores.tags.get("HADGEO_PARAMETERS", "null"))
    if name != scores.detector or (used is not None and used != given):
        what = f"{name}, not of {scores.detector}" if name != scores.detector else f"{name} with other parameters"
        raise ModelError(f"{told}: a model of {what}, which scored {scores.path}; give the model of that run, or none")
    warnings.warn(
        f"{told}: {name}, but not the fit that scored {scores.path}; the expected background is that of the model",
        CubeWarning,
        stacklevel=3,
    )


def check_polygons(path: str | os.PathLike[str], *maps: ScoreMap) -> None:
    """Refuse polygons of another map: the score of a peak is not what the map holds there.

    Args:
        path: A vector file; one that hadgeo has not written is taken as it is.
        maps: The map, and others that it may be the same as.

    Raises:
        CubeError: They are of none of these maps.
    """
    peaks = _peaks(Path(path))
    if len(peaks) and not any(_holds(scores, peaks) for scores in maps):
        raise CubeError(
            f"{path}: not the polygons of {maps[0].path}, which has other scores at their peaks; give those of this map"
        )


def _peaks(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Score, row and column of the first polygons (polygon, 3) of a file that hadgeo has written; none of any other."""
    wanted = ["max_score", "peak_row", "peak_col"]
    none = np.empty((0, len(wanted)))
    try:
        import pyogrio
    except ImportError:
        # Whoever draws them says so.
        return none
    check_vector(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            meta, _, _, values = pyogrio.raw.read(
                path, columns=[*wanted, _OF_MANY], read_geometry=False, max_features=_LOOKED_AT
            )
    except (RuntimeError, ValueError):
        return none
    found = dict(zip(meta["fields"], values, strict=True))
    columns = [np.asarray(found[name]) for name in wanted if name in found]
    if _OF_MANY in found or len(columns) < len(wanted) or any(column.dtype.kind not in "iuf" for column in columns):
        return none
    return np.column_stack(columns)


def _holds(scores: ScoreMap, peaks: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    """Whether a map has each of some scores within a pixel of its place, which is told to a part of a pixel."""
    rows, cols = scores.shape
    for score, row, col in peaks:
        if not (-1 < row < rows and -1 < col < cols):
            return False
        near = [slice(max(0, round(at) - 1), min(length, round(at) + 2)) for at, length in ((row, rows), (col, cols))]
        if not np.isclose(scores.read(*near), score, rtol=1e-5).any():
            return False
    return True
