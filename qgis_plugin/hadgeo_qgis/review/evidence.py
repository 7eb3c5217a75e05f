"""What the detector expected at each anomaly, where the backend has written it beside the polygons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from osgeo import gdal

from .scene import Look


class Evidence:
    """Spectra of anomalies from a file that `hadgeo threshold --evidence` or `hadgeo detect --evidence` has made.

    Args:
        path: The file.
        bands: How many bands the scene has.

    Raises:
        ValueError: It is no such file, or of another scene.
    """

    def __init__(self, path: Path, bands: int) -> None:
        try:
            dataset = gdal.OpenEx(str(path), gdal.OF_MULTIDIM_RASTER)
            group = dataset.GetRootGroup() if dataset is not None else None
            read = {
                name: group.OpenMDArray(name).ReadAsArray() for name in ("id", "band", "expected", "spread", "pixels")
            }
            detector = group.GetAttribute("detector")
        except (RuntimeError, AttributeError):
            raise ValueError(f"{path} holds no evidence") from None
        if read["band"].max() > bands:
            raise ValueError(f"{path} is evidence of another scene")
        self._rows = {int(number): row for row, number in enumerate(read["id"])}
        self._read, self._bands, self._at = read, bands, read["band"].astype(int) - 1
        name = detector.ReadAsString() if detector is not None else ""
        self._told = f"by {name}" if name else "median of the surroundings"

    def improve(self, look: Look, number: int) -> Look:
        """A look at an anomaly, with what the detector expected in the place of the surroundings.

        Args:
            look: At the scene.
            number: The anomaly's `id`.
        """
        row = self._rows.get(number)
        # Polygons of another run have other pixels.
        if row is None or int(self._read["pixels"][row]) != look.pixels:
            return look
        expected, spread = np.full(self._bands, np.nan), np.full(self._bands, np.nan)
        expected[self._at] = self._read["expected"][row]
        spread[self._at] = self._read["spread"][row]
        return Look(look.spectrum, expected, spread, look.pixels, self._told)


def find(polygons: str, scores: str, bands: int):
    """The evidence that belongs to a file of polygons.

    Args:
        polygons: The file.
        scores: The score map, or an empty text: `hadgeo detect` leaves its manifest beside that.
        bands: How many bands the scene has.

    Returns:
        `Evidence`, or None where there is none.
    """
    for manifest in manifests(polygons, scores):
        try:
            outputs = [record["path"] for record in json.loads(manifest.read_text(encoding="utf-8"))["outputs"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if Path(polygons).name not in [Path(path).name for path in outputs]:
            continue
        for path in outputs:
            # The folder may have been moved since.
            for file in (manifest.with_name(Path(path).name), Path(path)):
                if file.suffix == ".nc" and file.is_file():
                    try:
                        return Evidence(file, bands)
                    except ValueError:
                        continue
    return None


def manifests(polygons: str, scores: str) -> list:
    """Where the manifests of the runs that made polygons and scores may be."""
    return [Path(path).with_suffix(".json") for path in (polygons, scores) if path and Path(path).suffix != ".json"]
