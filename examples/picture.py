"""Make a scene, detect what does not belong there, and draw both side by side: the picture of the README.

python examples/picture.py picture.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import rasterio
import xarray as xr

import hadgeo

#: Red, green and blue of a true-colour composite, in nm.
RGB_NM = (650, 550, 460)


def composite(cube: xr.DataArray) -> np.ndarray:
    """A true-colour picture (y, x, 3) of a cube with wavelengths, stretched between the 2nd and 98th percentile."""
    nearest = [int(abs(cube.wavelength - nm).argmin()) for nm in RGB_NM]
    rgb = cube.isel(band=nearest).transpose("y", "x", "band").to_numpy()
    low, high = np.nanpercentile(rgb, (2, 98), axis=(0, 1))
    return np.nan_to_num(np.clip((rgb - low) / (high - low), 0, 1), nan=1)


def main(out: Path) -> None:
    """Draw the picture."""
    with tempfile.TemporaryDirectory() as folder:
        made = hadgeo.simulate(
            Path(folder) / "line.tif", rows=256, cols=400, targets=16, seed=1, rotation=8, wedges=0.1
        )
        done = hadgeo.detect(made.path)
        with rasterio.open(done.path) as dataset:
            scores = dataset.read(1)
        picture = composite(hadgeo.open_cube(made.path))
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
    left.imshow(picture)
    left.set_title("simulated line, true colour")
    image = right.imshow(scores, cmap="inferno", vmin=np.nanpercentile(scores, 2), vmax=np.nanpercentile(scores, 99.9))
    right.set_title("hadgeo detect: anomaly score, and the 16 implanted targets")
    figure.colorbar(image, ax=right, label="score", shrink=0.9)
    for target in made.targets:
        right.plot(target.col, target.row, "o", markersize=13, markerfacecolor="none", markeredgecolor="cyan")
    for axes in (left, right):
        axes.set_axis_off()
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "picture.png"))
