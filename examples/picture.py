"""Make a scene, detect what does not belong there, and draw it with the implanted targets: the picture of the README.

python examples/picture.py picture.png
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import rasterio
from rasterio.features import shapes
from rasterio.warp import transform_geom

import hadgeo


def outline(truth: Path, out: Path) -> None:
    """Write the outlines of a truth map's targets as GeoJSON."""
    with rasterio.open(truth) as dataset:
        marks = dataset.read(1)
        found = shapes(marks, mask=marks == 1, connectivity=8, transform=dataset.transform)
        targets = [transform_geom(dataset.crs, "EPSG:4326", shape) for shape, _ in found]
    features = [{"type": "Feature", "properties": {}, "geometry": target} for target in targets]
    out.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def main(out: Path) -> None:
    """Draw the picture."""
    with tempfile.TemporaryDirectory() as folder:
        line, targets = Path(folder) / "line.tif", Path(folder) / "targets.geojson"
        made = hadgeo.simulate(line, rows=256, cols=400, targets=16, seed=1, rotation=8, wedges=0.1)
        outline(made.truth, targets)
        done = hadgeo.detect(line)
        title = "A simulated flight line, its anomaly scores, and the 16 targets hidden in it"
        hadgeo.quicklook(line, done.path, polygons=targets, out=out, title=title, overwrite=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "picture.png"))
