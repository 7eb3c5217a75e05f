"""Draw the pictures of docs/gallery.md, of simulated scenes; and of the real ones in HADGEO_DATA, where it is set.

python docs/gallery_pictures.py docs/images/gallery

Pictures of real scenes go into the subfolder `real`, which git ignores: most of these scenes carry no licence to
publish them. The site of the documentation shows them where they are: on the machine of whoever has the scenes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

import hadgeo
from hadgeo.evidence.spectrum_plots import spectra_plots

#: Name of a picture; how its scene is made; how it is shown.
SIMULATED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "rotated": ({"rows": 300, "cols": 300, "rotation": 25, "wedges": 0.2, "seed": 11}, {}),
    "infrared": ({"rows": 240, "cols": 320, "seed": 4}, {"rgb": "860,650,550"}),
    "long": ({"rows": 900, "cols": 120, "bands": 60, "targets": 40, "seed": 8}, {"size": 560}),
}

#: Scenes that come with a place, by their files in HADGEO_DATA.
REAL = (
    "sandiego_aviris1_utm11_nad27.tif",
    "HyMap02_Berlin_Urban_Gradient_2009.bsq",
    "enmap_potsdam_mosaic_160x192.tif",
)

#: Pixels along the longer side, and quality, so that a picture takes less than 100 kB.
SIZE, QUALITY = 700, 80


def draw(scene: Path, out: Path, work: Path, **shown: Any) -> None:
    """Detect with defaults, and draw scene, scores and anomalies into one small picture."""
    scores, polygons = work / "scores.tif", work / "found.gpkg"
    hadgeo.detect(scene, parameters={"preset": "fast"}, out=scores, overwrite=True)
    hadgeo.decide(scores, hadgeo.Rule(pfa=1e-4), hadgeo.Outputs(polygons=polygons), overwrite=True)
    full = hadgeo.quicklook(
        scene, scores, polygons=polygons, out=work / "full.png", overwrite=True, **({"size": SIZE} | shown)
    )
    Image.open(full.path).convert("RGB").save(out, quality=QUALITY)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


def spectrum(scene: Path, out: Path, work: Path) -> None:
    """The spectrum of the strongest anomaly of a scene, against what was expected there."""
    done = hadgeo.detect(scene, "rx", out=work / "rx.tif")
    scores = hadgeo.open_scores(done.path)
    calibration = hadgeo.calibrate(scores)
    found = hadgeo.find_anomalies(scores, calibration.threshold(hadgeo.Rule(pfa=1e-4)), calibration)
    evidence = hadgeo.gather_evidence(scene, done.detector, found.groups, bands=done.bands.indices)
    first, *_ = spectra_plots(evidence.isel(anomaly=[0]), work / "spectra")
    Image.open(first).convert("RGB").save(out, quality=QUALITY)


def main(out: Path) -> None:
    """Draw them all."""
    (out / "real").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, (made, shown) in SIMULATED.items():
            hadgeo.simulate(work / f"{name}.tif", **made)
            draw(work / f"{name}.tif", out / f"{name}.webp", work, **shown)
        spectrum(work / "rotated.tif", out / "spectrum.webp", work)
        for name in REAL if "HADGEO_DATA" in os.environ else ():
            draw(Path(os.environ["HADGEO_DATA"]) / "geo" / name, out / "real" / f"{Path(name).stem}.webp", work)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
