"""Whether a score map belongs to a scene, a detector or polygons, by grids, names, hashes and the scores themselves."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hadgeo.errors import CubeError, CubeWarning, ModelError
from hadgeo.formats.source import Source
from hadgeo.maps.reader import ScoreMap

#: Polygons of a file that are looked at; those of another map differ in the first ones already.
_LOOKED_AT = 20


#: A field that a layer of the objects of many maps has.
_OF_MANY = "line_count"


def check_scene(scores: ScoreMap, source: Source, *, same_product: bool = True) -> None:
    """Refuse the map of another scene; warn where nothing tells.

    Args:
        scores: The map.
        source: The scene that it shall belong to.
        same_product: Whether another file of the same ground will not do.

    Raises:
        CubeError: Grid or name differ.

    Warns:
        CubeWarning: Neither place nor name is known, or the file is another one of the same ground.
    """
    _check_grid(scores, source)
    placed = source.metadata.grid.georeferenced and scores.grid.georeferenced
    made_from, name = scores.tags.get("HADGEO_SOURCE", ""), Path(source.path).name
    if made_from and name:
        if Path(made_from).stem == Path(name).stem:
            return
        told = f"{scores.path} was made from {made_from}, not from {source.path}"
        if same_product or not placed:
            raise CubeError(f"{told}; give the scene of this map, under the name that it had then")
        warnings.warn(f"{told}, which lies on the same grid", CubeWarning, stacklevel=3)
    elif not placed:
        warnings.warn(
            f"nothing tells whether {scores.path} was made from {source.path}: only rows and columns were compared",
            CubeWarning,
            stacklevel=3,
        )


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            meta, _, _, values = pyogrio.raw.read(
                path, columns=[*wanted, _OF_MANY], read_geometry=False, max_features=_LOOKED_AT
            )
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError):
        return none
    found = dict(zip(meta["fields"], values, strict=True))
    if _OF_MANY in found or not set(wanted) <= found.keys():
        return none
    return np.column_stack([found[name] for name in wanted])


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
