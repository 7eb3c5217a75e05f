"""Score maps on disk, for tests."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from hadgeo.maps.reader import ScoreMap, open_scores

UTM = "EPSG:32633"
GRID = Affine(2, 0, 5e5, 0, -2, 4.5e6)


def write_map(
    path: Path, scores: npt.ArrayLike, *, crs: str | None = UTM, transform: Affine | None = GRID, detector: str = "rx"
) -> ScoreMap:
    """Write scores as a GeoTIFF in blocks of one row, and open them."""
    values = np.asarray(scores)
    place = {} if transform is None else {"transform": transform}
    shape = {"count": 1, "height": values.shape[0], "width": values.shape[1], "dtype": values.dtype.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", crs=crs, blockysize=1, **shape, **place) as file:
            file.update_tags(HADGEO_DETECTOR=detector)
            file.write(values, 1)
    return open_scores(path)
