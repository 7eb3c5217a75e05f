"""Draw the maps of real scenes of docs/gallery.md, without the scenes themselves.

HADGEO_DATA=FOLDER python docs/real_picture.py docs/images/gallery/real_scenes.webp

Most of these scenes carry no licence to show them, so the maps are all that is drawn, with outlines around what is
known to be anomalous.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from pathlib import Path

import rasterio
from detectors_pictures import SHADES, outline, rarity
from matplotlib.figure import Figure
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

import hadgeo
from hadgeo.formats.matlab import read_truth

#: Titles of scenes, and their files in HADGEO_DATA: the scene and its truth.
SCENES = {
    "ABU: Los Angeles I": ("truth/abu-airport-1.mat",) * 2,
    "ABU: Los Angeles II": ("truth/abu-airport-2.mat",) * 2,
    "ABU: Cat Island": ("truth/abu-beach-1.mat",) * 2,
    "ABU: San Diego beach": ("truth/abu-beach-2.mat",) * 2,
    "ABU: Texas Coast": ("truth/abu-urban-1.mat",) * 2,
    "ABU: Gainesville": ("truth/abu-urban-3.mat",) * 2,
    "HYDICE urban": ("truth/HYDICE_norm_ScoreAD.mat",) * 2,
    "AVIRIS San Diego": ("geo/sandiego_aviris1_utm11_nad27.tif", "geo/sandiego_aviris1_gtGCL.tif"),
}


def main(out: Path) -> None:
    """Draw it."""
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    with tempfile.TemporaryDirectory() as folder:
        for axes, (title, files) in zip(figure.subplots(2, 4).ravel(), SCENES.items(), strict=True):
            scene, truth = (Path(os.environ["HADGEO_DATA"]) / file for file in files)
            done = hadgeo.detect(scene, out=Path(folder) / "scores.tif", overwrite=True)
            with rasterio.open(done.path) as dataset:
                shown = rarity(dataset.read(1))
            axes.imshow(shown, cmap="gray", vmin=SHADES[0], vmax=SHADES[1], interpolation="nearest")
            axes.set_title(title, fontsize=9)
            axes.set_axis_off()
            outline(axes, read_truth(truth) == 1)
        figure.savefig(Path(folder) / "full.png", dpi=120)
        Image.open(Path(folder) / "full.png").convert("RGB").save(out, quality=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
