"""Draw the picture of docs/thresholds.md: flagged pixels, and the objects that they grow into.

python docs/objects_picture.py docs/images/objects.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.figure import Figure

import hadgeo

#: Rows and columns that are shown.
SHOWN = slice(84, 166), slice(4, 96)


def main(out: Path) -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as folder:
        made = hadgeo.simulate(Path(folder) / "line.img", rows=256, cols=400, bands=60, targets=40, seed=3)
        done = hadgeo.detect(made.path, "rx")
        with rasterio.open(made.truth) as dataset:
            truth = dataset.read(1)[SHOWN] == 1
        scores = hadgeo.open_scores(done.path)
        calibration = hadgeo.calibrate(scores)
        threshold = calibration.threshold(hadgeo.Rule(pfa=1e-3))
        p_values = calibration.p_values(scores.read(*SHOWN))
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, grow, title in zip(panels, (0.0, 0.01), ("flagged at 1e-3", "grown to 1e-2"), strict=True):
            found = hadgeo.find_anomalies(scores, threshold, calibration, grow_pfa=grow)
            marked = np.zeros(scores.shape, dtype=bool)
            marked[found.groups.pixels.rows, found.groups.pixels.cols] = True
            axes.imshow(-np.log10(p_values), cmap="gray", vmin=0, vmax=5)
            # Drawn four times as fine, so that lines follow the edges of pixels.
            for mask, colour in ((truth, "tab:cyan"), (marked[SHOWN], "tab:red")):
                fine = np.kron(mask, np.ones((4, 4)))
                place = [(np.arange(size) + 0.5) / 4 - 0.5 for size in fine.shape]
                axes.contour(place[1], place[0], fine, levels=[0.5], colors=colour, linewidths=1)
            axes.set_title(title, fontsize=10)
            axes.set_axis_off()
        figure.savefig(out, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "objects.png"))
