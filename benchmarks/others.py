"""Detectors of others on the scenes of `benchmarks/detectors.py`: Spectral Python, scikit-learn and Orfeo ToolBox.

The scene is opened by hadgeo, so that all see the same bands; Spectral Python gets an array (row, column, band) of
float64, scikit-learn one of spectra, Orfeo ToolBox a GeoTIFF of float32. Windows of local RX are 5 and 21 pixels wide;
the isolation forest is of as many trees as ours, of as many pixels each.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import rasterio

import hadgeo
from hadgeo.cube import as_source
from hadgeo.run.selection import usable_bands

INNER, OUTER = 5, 21

#: The command of Orfeo ToolBox.
_ORFEO = "otbcli_LocalRxDetection"

#: What can be run here. Both local ones need minutes for a scene.
OTHERS = (
    ("spectral.rx", "spectral.local_rx") * bool(find_spec("spectral"))
    + ("sklearn.isolation_forest",) * bool(find_spec("sklearn"))
    + ("otb.local_rx",) * bool(shutil.which(_ORFEO))
)


def score_of_other(name: str, scene: Path, out: Path) -> None:
    """Write the scores of one of `OTHERS` as a GeoTIFF."""
    source = as_source(scene)
    cube = hadgeo.open_cube(scene).values[list(usable_bands(source, None).indices)]
    if name == "otb.local_rx":
        scores = _orfeo(cube)
    elif name == "sklearn.isolation_forest":
        scores = _forest(cube)
    else:
        scores = _spectral(cube, (INNER, OUTER) if name == "spectral.local_rx" else None)
    rows, cols = scores.shape
    with rasterio.open(out, "w", driver="GTiff", dtype="float32", count=1, height=rows, width=cols) as dataset:
        dataset.write(scores.astype(np.float32), 1)


def _spectral(cube: np.ndarray, window: tuple[int, int] | None) -> np.ndarray:
    import spectral
    from threadpoolctl import threadpool_limits

    spectral.settings.show_progress = False
    array = np.ascontiguousarray(cube.transpose(1, 2, 0)).astype(float)
    if window is None:
        return spectral.rx(array)
    # Pixel by pixel, two threads of BLAS wait for each other.
    with threadpool_limits(1, user_api="blas"):
        return spectral.rx(array, window=window)


def _forest(cube: np.ndarray) -> np.ndarray:
    from sklearn.ensemble import IsolationForest

    params = hadgeo.make_detector("isolation_forest").params
    spectra = cube.reshape(len(cube), -1).T
    valid = np.isfinite(spectra).all(axis=1)
    scores = np.full(len(spectra), np.nan)
    samples = min(params.tree_sample, int(valid.sum()))
    forest = IsolationForest(n_estimators=params.trees, max_samples=samples, random_state=0).fit(spectra[valid])
    scores[valid] = -forest.score_samples(spectra[valid])
    return scores.reshape(cube.shape[1:])


def _orfeo(cube: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        scene, out = Path(folder) / "scene.tif", Path(folder) / "scores.tif"
        shape = dict(zip(("count", "height", "width"), cube.shape, strict=True))
        with rasterio.open(scene, "w", driver="GTiff", dtype="float32", interleave="pixel", **shape) as dataset:
            dataset.write(cube.astype(np.float32))
        radii = ["-ir", str(INNER // 2), "-er", str(OUTER // 2)]
        subprocess.run([_ORFEO, "-in", scene, "-out", out, *radii], check=True, stdout=subprocess.DEVNULL)
        with rasterio.open(out) as dataset:
            return dataset.read(1)
