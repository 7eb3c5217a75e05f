"""The fields of polygons that hadgeo has written, and a person may have filled in: verdicts, and whose they are."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hadgeo.errors import MissingExtraError, ReviewError
from hadgeo.formats.drivers import check_vector

#: What can be said of an anomaly: a real find, one that does not matter, and neither for certain.
ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"
UNSURE: Final = "unsure"
VERDICTS = (ACCEPTED, REJECTED, UNSURE)

#: The fields of a verdict, in the order of a table; all are texts, and empty where nothing was said.
FIELDS = ("verdict", "note", "reviewer", "reviewed_at")

#: The layer of anomalies in a file that may hold several.
LAYER = "anomalies"

#: The field that says to which map an object belongs: the hash of the map's file.
MAP_FIELD = "map_sha256"


def check_outlines(path: Path, otherwise: str = "") -> None:
    """Refuse a table of verdicts where polygons are needed.

    Args:
        path: The file.
        otherwise: What to do with another kind of table.

    Raises:
        ReviewError: It is one.
    """
    if path.suffix.lower() == ".csv":
        raise ReviewError(
            f"{path}: a table has no outlines; give the polygons with the verdicts in them, such as the GeoJSON that "
            f"the page of a review saves{otherwise}"
        )


def verdicts_in(path: Path) -> list[str]:
    """The verdict on each polygon of a layer, in its order, and an empty text where there is none.

    Returns:
        Nothing where the layer has no field for verdicts.

    Raises:
        ReviewError: A verdict is unknown.
        MissingExtraError: Polygons need pyogrio.
    """
    found = texts_of(path, FIELDS[0])
    wrong = next((text for text in found if text and text not in VERDICTS), None)
    if wrong is not None:
        raise ReviewError(f"{path}: unknown verdict {wrong!r}; it must be one of {', '.join(VERDICTS)}, or empty")
    return found


def ids_by_verdict(path: Path, verdict: str) -> list[int]:
    """The ids of the polygons with some verdict, rising; none where the layer has no verdicts.

    Raises:
        ReviewError: A verdict is unknown.
        MissingExtraError: Polygons need pyogrio.
    """
    said, ids = verdicts_in(path), _ids(path)
    if len(ids) != len(said):
        return []
    return sorted(number for number, text in zip(ids, said, strict=True) if text == verdict)


def maps_by_id(path: Path) -> dict[int, str]:
    """The hash of the map of each polygon, by its id; nothing where the layer says nothing of either.

    Raises:
        MissingExtraError: Polygons need pyogrio.
    """
    maps, ids = texts_of(path, MAP_FIELD), _ids(path)
    return {} if len(ids) != len(maps) else dict(zip(ids, maps, strict=True))


def texts_of(path: Path, field: str) -> list[str]:
    """The texts of a field, empty where there is none; nothing where the layer has no such field, or is no layer."""
    column = _column(path, field)
    # NaN where a layer has nothing but empty fields.
    return [] if column is None else [text.strip() if isinstance(text, str) else "" for text in column.tolist()]


def _ids(path: Path) -> list[int]:
    """The numbers of polygons; none where the layer has no such field, or something else in it."""
    ids = _column(path, "id")
    if ids is None or ids.dtype.kind not in "iuf" or not np.isfinite(ids).all():
        return []
    return [int(number) for number in ids.tolist()]


def _column(path: Path, field: str) -> npt.NDArray[Any] | None:
    try:
        import pyogrio
    except ImportError as error:
        raise MissingExtraError(
            f'{path}: polygons need pyogrio; install it with pip install "hadgeo[vector]"'
        ) from error
    check_vector(path)
    try:
        with warnings.catch_warnings():
            # Of a layer without a coordinate system, or beside one with styles: what matters is checked elsewhere.
            warnings.simplefilter("ignore", UserWarning)
            meta, _, _, columns = pyogrio.raw.read(path, columns=[field], read_geometry=False)
    except (RuntimeError, ValueError):
        return None
    return np.asarray(columns[0]) if len(meta["fields"]) == 1 else None
