"""Which rasters of a project anomalies are of: a guess that the user may change."""

from __future__ import annotations

from pathlib import Path

from osgeo import gdal
from qgis.core import QgsCoordinateTransform, QgsCsException, QgsProject, QgsRasterLayer

from ..handover import absolute


def may_be_scores(layer) -> bool:
    """Whether a layer may be a score map."""
    if not isinstance(layer, QgsRasterLayer) or not layer.isValid():
        return False
    return layer.providerType() == "gdal" and layer.bandCount() == 1


def tags(layer) -> dict:
    """The tags of a raster's file."""
    try:
        dataset = gdal.Open(absolute(layer.source()))
    except RuntimeError:  # where someone has asked GDAL for exceptions
        dataset = None
    return {} if dataset is None else dataset.GetMetadata()


def scores(rasters: list, anomalies, current):
    """The score map of hadgeo's that anomalies were found in.

    Args:
        rasters: Layers for which `may_be_scores`.
        anomalies: The layer of anomalies.
        current: The one that is chosen, or None.

    Returns:
        One of them, or None where none of hadgeo's lies there.
    """
    fitting = [raster for raster in rasters if overlap(raster, anomalies)]
    # A map of p-values has the tags of its scores, and says whose they are.
    maps = [r for r in fitting if "HADGEO_DETECTOR" in (told := tags(r)) and "HADGEO_SCORES" not in told]
    return _best(maps, anomalies, current)


def scene(rasters: list, anomalies, chosen_scores, current):
    """The scene that anomalies were found in.

    Args:
        rasters: Scenes.
        anomalies: The layer of anomalies.
        chosen_scores: The score map, or None; it names its scene.
        current: The one that is chosen, or None.

    Returns:
        One of them, or None where none lies there.
    """
    fitting = [raster for raster in rasters if overlap(raster, anomalies)]
    name = tags(chosen_scores).get("HADGEO_SOURCE", "") if chosen_scores is not None else ""
    named = [raster for raster in fitting if Path(absolute(raster.source())).name == name]
    return named[0] if named else _best(fitting, anomalies, current)


def _best(rasters: list, anomalies, current):
    """That whose file's name begins as theirs does, or the one that is chosen, or the first."""
    stem = Path(absolute(anomalies.source())).stem.split("_anomal")[0]
    named = [raster for raster in rasters if Path(absolute(raster.source())).stem.startswith(stem)]
    if named:
        return min(named, key=lambda raster: len(Path(absolute(raster.source())).stem))
    return current if current in rasters else next(iter(rasters), None)


def overlap(raster, anomalies) -> bool:
    """Whether a raster may be what anomalies were found in; of those without a place, every one."""
    if not raster.crs().isValid() or not anomalies.crs().isValid():
        return raster.crs().isValid() == anomalies.crs().isValid()
    try:
        there = QgsCoordinateTransform(anomalies.crs(), raster.crs(), QgsProject.instance())
        return raster.extent().intersects(there.transformBoundingBox(anomalies.extent()))
    except QgsCsException:
        return False
