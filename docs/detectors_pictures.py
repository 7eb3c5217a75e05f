"""Draw the picture of docs/detectors.md: the same simulated scene under each detector, with its targets outlined.

python docs/detectors_pictures.py docs/images/detectors.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import hadgeo

COLUMNS = 5

#: Black up to one pixel in ten; white from one in 10,000.
SHADES = 1.0, 4.0


def rarity(scores: np.ndarray) -> np.ndarray:
    """-log10 of the share of pixels that score at least as high."""
    order = np.sort(scores, axis=None)
    return -np.log10(1 - np.searchsorted(order, scores, side="left") / scores.size)


def outline(axes: Axes, truth: np.ndarray) -> None:
    """Draw the edges of targets."""
    # Drawn four times as fine, so that lines follow the edges of pixels.
    fine = np.kron(truth, np.ones((4, 4)))
    place = [(np.arange(size) + 0.5) / 4 - 0.5 for size in fine.shape]
    axes.contour(place[1], place[0], fine, levels=[0.5], colors="tab:cyan", linewidths=0.6)


def colours(path: Path) -> np.ndarray:
    """The scene as (y, x, 3) in 0...1."""
    cube = hadgeo.open_cube(path)
    picked = cube.values[[int(np.abs(cube.wavelength.values - nm).argmin()) for nm in (640, 550, 460)]]
    low, high = np.percentile(picked, (1, 99), axis=(1, 2), keepdims=True)
    return np.clip((picked - low) / (high - low), 0, 1).transpose(1, 2, 0)


def main(out: Path) -> None:
    """Draw it."""
    names = hadgeo.list_detectors()
    figure = Figure(figsize=(10, 2.15 * -(-(1 + len(names)) // COLUMNS)), layout="constrained")
    panels = figure.subplots(-(-(1 + len(names)) // COLUMNS), COLUMNS).ravel()
    for axes in panels:
        axes.set_axis_off()
    with tempfile.TemporaryDirectory() as folder:
        made = hadgeo.simulate(Path(folder) / "line.img", rows=200, cols=200, seed=1)
        with rasterio.open(made.truth) as dataset:
            truth = dataset.read(1) == 1
        panels[0].imshow(colours(Path(made.path)), interpolation="nearest")
        panels[0].set_title("true colour", fontsize=9)
        outline(panels[0], truth)
        for axes, name in zip(panels[1:], names, strict=False):
            hadgeo.detect(made.path, name, out=Path(folder) / "scores.tif", overwrite=True)
            with rasterio.open(Path(folder) / "scores.tif") as dataset:
                shown = rarity(dataset.read(1))
            axes.imshow(shown, cmap="gray", vmin=SHADES[0], vmax=SHADES[1], interpolation="nearest")
            axes.set_title(name, fontsize=9, family="monospace")
            outline(axes, truth)
        figure.savefig(out, dpi=120, metadata={"Software": None})
    # 64 colours: a fraction of the size.
    Image.open(out).convert("RGB").quantize(64).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "detectors.png"))
